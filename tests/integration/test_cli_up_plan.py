"""What the programs of `rigbeat up` are told, and the ports they get."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from cli.errors import CliError, ExitCode
from cli.home import Home
from cli.up import plan, ports
from libs.stack.ports import free_port

FACTS = plan.Facts(
    home=Home(Path("/srv/lab home")),
    environment={
        "AWS_SECRET_ACCESS_KEY": "the store's",
        "PATH": "/usr/bin",
        "RIGBEAT_HEARTBEAT_SECONDS": "1",
        "RIGBEAT_TOKEN": "somebody's",
        "RIGBEAT_DATABASE_URL_FILE": "/run/secrets/database",
    },
    ports={name: 20_000 + number for number, name in enumerate(plan.ORDER)},
    amqp_url="amqp://admin:secret@broker:5672/",
    amqp_management_url="http://admin:secret@broker:15672",
    api_database_url="postgresql://api",
    ingest_database_url="postgresql://ingest",
    scheduler_database_url="postgresql://scheduler",
    scripts_dir=Path("/srv/scripts"),
    deployments_log=Path("/srv/deployments.log"),
)


def test_the_host_gets_neither_a_database_nor_anybody_elses_token() -> None:
    told = plan.runner(FACTS, "rb_host").environment
    assert not [name for name, value in told.items() if "DATABASE" in name or "postgresql" in value]
    assert told["RIGBEAT_ENROLMENT_SECRET"] == "rb_host"
    assert "RIGBEAT_TOKEN" not in told
    assert told["RIGBEAT_AMQP_URL"] == "amqp://broker:5672/", "where the broker is, not our own user there"
    assert "RIGBEAT_ENROLMENT_SECRET" not in plan.runner(FACTS, None).environment
    shared = plan.runner(replace(FACTS, amqp_management_url=None), None).environment
    assert shared["RIGBEAT_AMQP_URL"] == FACTS.amqp_url, "nobody can give it one of its own"
    assert told["RIGBEAT_HOST_NAME"] == "lab-1"
    assert told["RIGBEAT_STATE_DIR"] == "/srv/lab home/hosts/lab-1"
    box = FACTS.ports["settopbox-stb-1"]
    first = json.loads(told["RIGBEAT_DEVICES"])[0]
    assert (first["device_id"], first["labels"]) == ("stb-1", {"address": f"http://127.0.0.1:{box}"})


def test_each_service_has_its_own_role_and_port_and_what_was_set_for_all() -> None:
    api, first, second = plan.api(FACTS), *plan.schedulers(FACTS)
    assert api.environment["RIGBEAT_DATABASE_URL"] == "postgresql://api"
    assert api.environment["RIGBEAT_INGEST_DATABASE_URL"] == "postgresql://ingest"
    assert api.environment["RIGBEAT_ARTIFACTS_URL"] == "file:///srv/lab%20home/artifacts"
    assert api.environment["AWS_SECRET_ACCESS_KEY"] == "the store's"
    assert "AWS_SECRET_ACCESS_KEY" not in first.environment
    assert "AWS_SECRET_ACCESS_KEY" not in plan.runner(FACTS, "rb_host").environment
    assert first.environment["RIGBEAT_DATABASE_URL"] == "postgresql://scheduler"
    assert first.environment["RIGBEAT_HTTP_PORT"] != second.environment["RIGBEAT_HTTP_PORT"]
    for program in (api, first, second, *plan.boxes(FACTS)):
        assert program.environment["RIGBEAT_HEARTBEAT_SECONDS"] == "1"
        assert "RIGBEAT_TOKEN" not in program.environment
        assert "RIGBEAT_DATABASE_URL_FILE" not in program.environment


def test_no_password_is_in_what_a_traceback_may_show() -> None:
    shown = repr(replace(FACTS, amqp_url="amqp://user:hunter2@broker")) + repr(plan.runner(FACTS, "rb_hunter2"))
    assert "hunter2" not in shown


def test_the_ports_of_the_last_start_are_taken_again_and_all_differ(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    chosen = ports.take(["a", "b", "c"], {})
    assert len(set(chosen.values())) == 3
    ports.keep(file, chosen)
    assert ports.take(["a", "b", "c"], ports.read(file)) == chosen
    assert ports.take(["a"], ports.read(file), {chosen["a"]})["a"] != chosen["a"]
    file.write_text("{")
    assert ports.read(file) == {}


def test_a_port_that_was_asked_for_and_is_taken_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(CliError, match=f"Port {taken} for the API is taken") as refused:
            ports.api_port(taken, None)
        assert refused.value.code is ExitCode.USAGE
        moved = ports.take(["a"], {"a": taken})["a"]
    assert moved != taken


def test_the_api_listens_where_it_was_asked_to() -> None:
    free = free_port()
    assert ports.api_port(free, None) == free


def test_without_a_wish_the_api_goes_where_it_was_when_8080_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(ports, "DEFAULT_API_PORT", other.getsockname()[1])
        kept = free_port()
        assert ports.api_port(None, kept) == kept
        assert ports.api_port(None, None) not in {None, other.getsockname()[1]}
    assert ports.api_port(None, kept) == ports.DEFAULT_API_PORT
