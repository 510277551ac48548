"""RabbitMQ out of a container, where nothing else is to be had: found, used, and gone with whoever started it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import aio_pika
import pytest

from libs.stack.container import Engine, find_engine, name_of
from libs.stack.errors import StackError
from libs.stack.installation import find_rabbitmq
from libs.stack.ports import free_port
from libs.stack.process import run
from tests.support.processes import parent
from tests.support.wait import until

_GONE_SECONDS = 30.0
_PARENT = """
import os, sys
from pathlib import Path
from libs.stack.container import find_engine
from libs.stack.rabbitmq import RabbitMQ
os.environ["DOCKER_HOST"] = sys.argv[4]
server = RabbitMQ(Path(sys.argv[1]), log=Path(sys.argv[2]), port=int(sys.argv[3]), installation=find_engine())
server.start()
print(server.amqp_url, flush=True)
"""


def test_without_an_engine_there_is_none_and_the_sentence_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine() is None
    if not Path("/usr/lib/rabbitmq").exists():
        with pytest.raises(StackError, match="start a Docker engine"):
            find_rabbitmq(tmp_path / "cache")


@pytest.mark.containers
@pytest.mark.timeout(180)
async def test_a_node_in_a_container_is_used_like_any_other_and_ends_with_a_killed_parent(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    assert docker is not None, "DOCKER_HOST names an engine, and there is no docker to speak with it"
    engine, host = Engine(Path(docker)), os.environ["DOCKER_HOST"]  # noqa: TID251 - by which the need is met
    folder = tmp_path / "home"
    try:
        with parent(
            _PARENT, folder, tmp_path / "rabbitmq.log", str(free_port()), host, log=tmp_path / "parent.log"
        ) as owner:
            url = (tmp_path / "parent.log").read_text().splitlines()[0]
            async with await aio_pika.connect(url) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
                await channel.default_exchange.publish(aio_pika.Message(b"one"), queue.name)
            assert name_of(folder) in _containers(engine)
            owner.kill()
            until(
                lambda: name_of(folder) not in _containers(engine), within=_GONE_SECONDS, what="the container is gone"
            )
    finally:
        engine.remove(name_of(folder))


def _containers(engine: Engine) -> list[str]:
    return run([engine.program, "ps", "--all", "--format", "{{.Names}}"], within=20).output.split()
