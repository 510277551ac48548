"""What a host may do at the broker, as expressions: what they match and, above all, what not."""

from __future__ import annotations

import re
from base64 import b64decode

import pytest

from services.api.core.broker_access import host_of, password_hash, permissions_of, user_of

MAY = permissions_of("lab-1")
HOSTS = ["lab-1", "lab-12", "xlab-1", "lab-1x", "labx1", "lab"]


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("host.lab-1.triggers", True),
        ("host.lab-1.commands", True),
        ("host.lab-1.presence", True),
        ("host.lab-12.triggers", False),
        ("host.lab-1.triggers.more", False),
        ("xhost.lab-1.triggers", False),
        ("hostxlab-1xtriggers", False),
        ("results.persist", False),
        ("hosts.presence", False),
        ("dead.letters", False),
        ("", False),
    ],
)
def test_it_reads_its_own_three_queues(name: str, *, may: bool) -> None:
    assert bool(re.search(MAY.read, name)) is may


@pytest.mark.parametrize("name", ["rigbeat.results", "rigbeat.logs"])
def test_it_writes_two_exchanges_and_with_its_own_keys(name: str) -> None:
    assert re.search(MAY.write, name)
    for host in HOSTS:
        assert bool(re.search(MAY.topics[name], f"{host}.started")) is (host == "lab-1"), host
    for key in ("lab-1", "lab-1.", "lab-1.a.b", ".started", "lab-1.started\nlab-2.started", "#", "*.started"):
        assert not re.search(MAY.topics[name], key), key


@pytest.mark.parametrize(
    "name", ["rigbeat.triggers", "rigbeat.commands", "rigbeat.dead", "amq.default", "amq.topic", ""]
)
def test_it_writes_nowhere_else(name: str) -> None:
    assert not re.search(MAY.write, name)


def test_it_configures_nothing() -> None:
    for name in ("host.lab-1.triggers", "rigbeat.results", "anything"):
        assert not re.search(MAY.configure, name)


def test_a_user_is_a_hosts_and_back() -> None:
    assert host_of(user_of("lab-1")) == "lab-1"
    assert host_of("rigbeat") is None


def test_the_hash_is_the_brokers() -> None:
    # The example of RabbitMQ's own documentation ("This is the algorithm"): salt 90 8D C6 0A, password test12.
    made = password_hash("test12", bytes.fromhex("908DC60A"))
    assert made == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert b64decode(made)[:4] == bytes.fromhex("908DC60A")
    with pytest.raises(ValueError, match="4 bytes"):
        password_hash("x", b"1")
