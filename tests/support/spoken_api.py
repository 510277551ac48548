"""One web worker of the real API in a process of its own, for programs that speak HTTP: the command line.

`python -m tests.support.spoken_api PORT` is that process; there is no broker, and no ingest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx

from libs.chassis.settings import load
from libs.stack.ports import free_port
from libs.stack.process import start
from services.api import web
from services.api.settings import Settings
from tests.support.api import Api
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until

_ROOT = Path(__file__).parents[2]
_UP_SECONDS = 30


@contextmanager
def spoken_api(database: LedgerDatabase, place: Path) -> Iterator[str]:
    """The address, until the end of the block. Commands to hosts are applied as soon as they are given."""
    Api(None, database, database.team("nobody"), AsyncExitStack()).answer_commands()  # type: ignore[arg-type]
    port = free_port()
    env = {
        "RIGBEAT_DATABASE_URL": database.api_url,
        "RIGBEAT_INGEST_DATABASE_URL": database.ingest_url,
        "RIGBEAT_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/",
        "RIGBEAT_ARTIFACTS_URL": f"file://{place}/artifacts",
    }
    command = [sys.executable, "-m", "tests.support.spoken_api", str(port)]
    child = start("spoken-api", command, env=env, log=place / "api.log", cwd=_ROOT)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: child.poll() is not None or _is_up(address), within=_UP_SECONDS, what="the API is up")
        assert child.poll() is None, child.log.read_text()
        yield address
    finally:
        child.kill()


def _is_up(address: str) -> bool:
    try:
        return bool(httpx.get(f"{address}/readyz").json()["checks"]["database"])
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(web.run(load(Settings), web.listen("127.0.0.1", int(sys.argv[1])), [False]))
