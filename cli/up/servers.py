"""PostgreSQL and RabbitMQ of our own, both started at once; what the environment names is not started."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from cli.home import Home
from cli.settings import Settings
from cli.up import signals
from cli.up.keeper import Keeper
from cli.up.roster import Roster
from cli.up.say import say, step
from libs.stack.postgres import Postgres
from libs.stack.rabbitmq import RabbitMQ
from libs.stack.rooted import find_rooted


def port_names(settings: Settings) -> tuple[str, ...]:
    """The ports that our own servers need."""
    own = () if settings.database_url else ("postgres",)
    return own if settings.amqp_url else (*own, "rabbitmq", "rabbitmq-management", "rabbitmq-prometheus")


def own_postgres(settings: Settings, home: Home, ports: Mapping[str, int]) -> Postgres | None:
    """Ours, not yet started; None when one is given."""
    if settings.database_url is not None:
        return None
    return Postgres(home.postgres, port=ports["postgres"], log=home.log("postgres"), programs=settings.postgres_bin)


def own_rabbitmq(settings: Settings, home: Home, ports: Mapping[str, int]) -> RabbitMQ | None:
    """Ours, not yet started; None when one is given. Raises `StackError` when the given root has none."""
    if settings.amqp_url is not None:
        return None
    return RabbitMQ(
        home.rabbitmq,
        port=ports["rabbitmq"],
        management_port=ports["rabbitmq-management"],
        prometheus_port=ports["rabbitmq-prometheus"],
        log=home.log("rabbitmq"),
        installation=None if settings.rabbitmq_root is None else find_rooted(settings.rabbitmq_root.absolute()),
    )


def start(postgres: Postgres | None, rabbitmq: RabbitMQ | None, roster: Roster, keepers: list[Keeper]) -> None:
    """Start them side by side and return when both are ready. Each is in `keepers` before its start begins.

    Raises `StackError` or `OSError` of the first that fails, `StoppedError` after a signal.
    """
    waiting: list[Future[None]] = []
    if postgres is not None:
        of_postgres = Keeper("postgres", postgres, roster)
        keepers.append(of_postgres)
        waiting.append(_in_thread(lambda: _start_postgres(of_postgres, postgres)))
    if rabbitmq is not None:
        of_rabbitmq = Keeper("rabbitmq", rabbitmq, roster)
        keepers.append(of_rabbitmq)
        waiting.append(_in_thread(lambda: _start_rabbitmq(of_rabbitmq, rabbitmq)))
    for future in waiting:
        while not future.done():
            signals.pause(_POLL_SECONDS)
        future.result()


_POLL_SECONDS = 0.05


def _start_postgres(keeper: Keeper, server: Postgres) -> None:
    with step("PostgreSQL") as told:
        keeper.start()
        told.done = f"PostgreSQL {server.find().major} is ready on port {keeper.member.port}"


def _start_rabbitmq(keeper: Keeper, server: RabbitMQ) -> None:
    with step("RabbitMQ") as told:
        # Here and not only in its start: a first start may have to fetch it, and says so.
        version = server.find(say).version
        keeper.start()
        told.done = f"RabbitMQ {version} is ready on port {keeper.member.port}"


def _in_thread(begin: Callable[[], None]) -> Future[None]:
    """A daemon, so that a start which hangs does not keep a stopped process from ending."""
    future: Future[None] = Future()

    def work() -> None:
        try:
            begin()
        except BaseException as error:  # noqa: BLE001  # supervisor: of a start; handed to the one who waits
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=work, name="server-start", daemon=True).start()
    return future
