"""Which urls may be used as they stand, and what becomes of them."""

from __future__ import annotations

import pytest

from libs.chassis.exposure import hosts, is_loopback, trusting, why_not, why_not_listen


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "", "/run/postgresql"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.0.0.1", "broker", "localhost.lab", "127.0.0.1.lab", "127.1", "::ffff:10.0.0.1", "[fe80::1]"],
)
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)


SAFE = [
    "amqps://u:p@broker.lab/",
    "amqp://u:p@127.0.0.1:5672/",
    "amqp://u:p@[::1]:5672/v",
    "amqps://u:p@broker.lab/v?cafile=/ca.pem&certfile=/c.pem&keyfile=/k.pem&heartbeat=5",
    "https://api.lab",
    "http://localhost:8080",
    "postgresql://u:p@db.lab/d",
    "postgresql://u:p@db.lab,db2.lab/d?sslmode=verify-full",
    "postgresql://u:p@127.0.0.1/d?sslmode=disable",
    "postgresql:///d?host=/run/postgresql&sslmode=disable",
    "file:///var/lib/rigbeat",
    "s3://bucket/prefix",
]


@pytest.mark.parametrize("url", SAFE)
def test_what_may_be_used(url: str) -> None:
    assert why_not(url, plaintext=False) is None


IN_THE_CLEAR = {
    "amqp://u:hunter2@broker.lab/": ["amqp:// to broker.lab", "in the clear", "amqps://"],
    "AMQP://u:hunter2@broker.lab/": ["amqps://"],
    "amqp://u:hunter2@10.0.0.5:5672/": ["10.0.0.5"],
    "http://api.lab:8080": ["http:// to api.lab", "https://"],
    "http://localhost.evil.lab/": ["https://"],
    "http://localhost@api.lab/": ["to api.lab"],
    "postgresql://u:hunter2@db.lab/d?sslmode=disable": ["sslmode=disable to db.lab", "verify-full"],
    "postgresql://u:hunter2@db.lab/d?sslmode=prefer": ["sslmode=prefer"],
    "postgresql://u:hunter2@db.lab/d?sslmode=require": ["does not check who answers"],
    "postgresql://u:hunter2@127.0.0.1,db.lab:5433/d?sslmode=verify-ca": ["db.lab"],
    "postgresql:///d?host=db.lab&sslmode=disable": ["db.lab"],
    "postgresql://u:hunter2@127.0.0.1/d?hostaddr=10.0.0.5": ["hostaddr"],
    "postgresql:///?service=lab": ["service"],
    "postgresql:///d": ["names no host", "PGHOST"],
    "postgresql://u:hunter2@/d": ["names no host"],
}


@pytest.mark.parametrize(("url", "words"), IN_THE_CLEAR.items())
def test_what_is_refused_unless_the_operator_allows_it(url: str, words: list[str]) -> None:
    refusal = why_not(url, plaintext=False) or ""
    assert all(word in refusal for word in words), refusal
    assert "hunter2" not in refusal
    assert why_not(url, plaintext=True) is None


@pytest.mark.parametrize(
    "option",
    ["no_verify_ssl=1", "no_verify_ssl=", "verify=no", "verify_ssl=false", "ssl_options=x", "capath=/", "cadata=eA"],
)
@pytest.mark.parametrize("plaintext", [False, True])
def test_no_option_turns_the_check_off(option: str, plaintext: bool) -> None:
    for scheme in ("amqp", "amqps"):
        refusal = why_not(f"{scheme}://u:p@127.0.0.1/?heartbeat=5&{option}", plaintext=plaintext) or ""
        assert option.partition("=")[0] in refusal
        assert "certificates are always checked" in refusal


TRUSTING = {
    "amqps://u:p@broker/v": "amqps://u:p@broker/v?cafile=/my%20ca.pem",
    "amqps://u:p@broker/?heartbeat=5": "amqps://u:p@broker/?heartbeat=5&cafile=/my%20ca.pem",
    "amqps://u:p@broker/?cafile=/its.pem": "amqps://u:p@broker/?cafile=/its.pem",
    "amqp://u:p@localhost/": "amqp://u:p@localhost/",
    "postgresql://u:p@db/d": "postgresql://u:p@db/d?sslmode=verify-full&sslrootcert=/my%20ca.pem",
    "postgresql://u@db,db2:5433/d?target_session_attrs=read-write": "postgresql://u@db,db2:5433/d?target_session_attrs="
    "read-write&sslmode=verify-full&sslrootcert=/my%20ca.pem",
    "postgresql://u@db/d?sslmode=verify-full&sslrootcert=/its": "postgresql://u@db/d?sslmode=verify-full&sslrootcert=/its",
    "postgresql://u@127.0.0.1/d": "postgresql://u@127.0.0.1/d",
    "postgresql://u@127.0.0.1/d?sslmode=verify-full": "postgresql://u@127.0.0.1/d?sslmode=verify-full"
    "&sslrootcert=/my%20ca.pem",
    "postgresql:///d?host=/run/postgresql": "postgresql:///d?host=/run/postgresql",
}


@pytest.mark.parametrize(("url", "meant"), TRUSTING.items())
def test_a_url_says_who_is_trusted(url: str, meant: str) -> None:
    assert trusting(url, "/my ca.pem", plaintext=False) == meant
    assert trusting(meant, "/another.pem", plaintext=False) == meant, "once is enough"


def test_without_a_file_it_is_the_systems_store() -> None:
    assert trusting("amqps://broker/", None, plaintext=False) == "amqps://broker/"
    assert trusting("postgresql://db/d", None, plaintext=False) == "postgresql://db/d?sslmode=verify-full"


def test_an_operator_who_allows_it_gets_the_url_as_written() -> None:
    assert trusting("postgresql://db/d", "/ca", plaintext=True) == "postgresql://db/d"


def test_hosts_of_a_url() -> None:
    assert hosts("postgresql://u:p@a:1,[::1]:2,c/d?host=e,f") == ["a", "::1", "c", "e", "f"]


@pytest.mark.parametrize(
    ("host", "how", "refused"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("lab.example.org", {}, True),
        ("0.0.0.0", {"tls": True}, False),
        ("0.0.0.0", {"proxies": ["10.0.0.7"]}, False),
        ("0.0.0.0", {"plaintext": True}, False),
    ],
)
def test_where_tokens_may_be_taken(host: str, how: dict[str, object], refused: bool) -> None:
    told: dict[str, object] = {"tls": False, "proxies": [], "plaintext": False} | how
    refusal = why_not_listen(host, **told)  # type: ignore[arg-type]
    assert (refusal is not None) is refused
    if refusal is not None:
        assert host in refusal
        assert "RIGBEAT_TLS_CERT_FILE" in refusal
