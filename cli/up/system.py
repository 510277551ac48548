"""The whole system, step by step: servers, database, services, the host and its boxes; then it is kept running."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

from cli.client import Api
from cli.errors import CliError, ExitCode
from cli.home import Home
from cli.settings import Settings, base_environment
from cli.up import database, drawn, enrolment, plan, ports, ready, room, samples, servers, signals
from cli.up.keeper import Keeper
from cli.up.lock import alone
from cli.up.member import Program
from cli.up.roster import Roster
from cli.up.say import say, step
from libs.chassis.settings import PREFIX
from libs.stack.errors import StackError
from libs.stack.ports import require_free


def up(
    home: Home,
    settings: Settings,
    port: int | None,
    *,
    demo: bool,
    hints: Sequence[str],
    door: plan.Door | None = None,
) -> None:
    """Start everything, say so, and return after a signal when everything has stopped.

    `hints` are printed when it is up. Without a `door` no other machine gets in.
    Raises `CliError` when it cannot start; nothing is left running then.
    """
    signals.hold()
    try:
        _up(home, settings, port, demo=demo, hints=hints, door=door)
    except OSError as error:
        raise CliError(ExitCode.NO, room.in_words(error, home.path)) from error
    except psycopg.Error as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CliError(ExitCode.NO, f"PostgreSQL says no: {why}; its log is {home.log('postgres')}.") from error


def _up(
    home: Home,
    settings: Settings,
    port: int | None,
    *,
    demo: bool,
    hints: Sequence[str],
    door: plan.Door | None,
) -> None:
    room.require(home.path, own_postgres=settings.database_url is None)
    home.path.mkdir(parents=True, exist_ok=True)
    with alone(home):
        keepers: list[Keeper] = []
        try:
            url, login_link = _start(home, settings, port, keepers, demo=demo, door=door)
            say(f"Rigbeat is up: {url}")
            say(f"Sign in, once, within ten minutes: {login_link}")
            if door is not None:
                say(f"Other machines reach it at {door.url}, by a name of its certificate")
            for hint in hints:
                say(hint)
            signals.wait()
        except StackError as error:
            raise CliError(ExitCode.NO, str(error)) from error
        except signals.StoppedError:
            raise CliError(ExitCode.NO, "Stopped before Rigbeat was up.") from None
        finally:
            signals.release()
            _stop(keepers)


def _start(
    home: Home,
    settings: Settings,
    port: int | None,
    keepers: list[Keeper],
    *,
    demo: bool,
    door: plan.Door | None,
) -> tuple[str, str]:
    """The API's address, and a link that signs a browser in there."""
    chosen = _ports(home, settings, port, door)
    roster = Roster(home, plan.ORDER)
    kept = drawn.read(home.secrets)
    kept.draw(database.ROLES)
    drawn.write(home.secrets, kept)
    postgres = servers.own_postgres(settings, home, chosen)
    rabbitmq = servers.own_rabbitmq(settings, home, chosen)
    servers.start(postgres, rabbitmq, roster, keepers)
    signals.check()
    with step("The ledger has the current schema and its roles"):
        if postgres is not None:
            ledger = database.made(postgres, kept.passwords)
        else:
            assert settings.database_url is not None
            given = settings.reach(settings.database_url)
            ledger = database.Database(given, given)
        database.migrated(ledger, kept.passwords)
        enrolled = enrolment.enrol(ledger.owner_url, home.token, plan.HOST, home.host(plan.HOST))
    signals.check()
    management = settings.amqp_management_url.get_secret_value() if settings.amqp_management_url else None
    if rabbitmq is not None:
        amqp_url, management = rabbitmq.amqp_url, rabbitmq.management_url
    else:
        assert settings.amqp_url is not None
        amqp_url = settings.amqp_url.get_secret_value()
    facts = plan.Facts(
        home=home,
        environment=_environment(settings),
        ports=chosen,
        amqp_url=amqp_url,
        amqp_management_url=management,
        api_database_url=ledger.url("rigbeat_api", kept.passwords),
        ingest_database_url=ledger.url("rigbeat_ingest", kept.passwords),
        scheduler_database_url=ledger.url("rigbeat_scheduler", kept.passwords),
        scripts_dir=settings.scripts_dir or plan.EXAMPLE_SCRIPTS,
        deployments_log=settings.deployments_log,
    )
    with Api(facts.api_url, enrolled.admin_token) as api:
        _services(facts, api, enrolled, roster, keepers, door)
        if demo and enrolled.host_is_admitted:
            created = samples.create_samples(api)
            if created:
                say(f"  {created} sample deployments were created")
        login_link: str = api.post("/login-links")["url"]
    return facts.api_url, login_link


def _environment(settings: Settings) -> dict[str, str]:
    """As base_environment; the file of who is trusted is found from wherever a program starts."""
    trusted = settings.trusted
    return base_environment() | ({f"{PREFIX}CA_FILE": trusted} if trusted else {})


def _ports(home: Home, settings: Settings, port: int | None, door: plan.Door | None) -> dict[str, int]:
    kept = ports.read(home.ports)
    asked = port if port is not None else settings.http_port
    of_api = ports.api_port(asked, kept.get(plan.API))
    if asked is None and of_api != ports.DEFAULT_API_PORT:
        say(f"Port {ports.DEFAULT_API_PORT} is taken, so the API listens on {of_api}")
    programs = (name for name in plan.ORDER if name not in {"postgres", "rabbitmq", plan.API, plan.DOOR})
    of_door = {} if door is None else {plan.DOOR: door.port}
    for number in of_door.values():
        require_free(number, "other machines")
    chosen = (
        {plan.API: of_api}
        | of_door
        | ports.take([*servers.port_names(settings), *programs], kept, {of_api, *of_door.values()})
    )
    ports.keep(home.ports, kept | chosen)
    return chosen


def _services(
    facts: plan.Facts,
    api: Api,
    enrolled: enrolment.Enrolled,
    roster: Roster,
    keepers: list[Keeper],
    door: plan.Door | None,
) -> None:
    def begin(program: Program) -> Keeper:
        keeper = Keeper(program.name, program, roster)
        keepers.append(keeper)
        keeper.start()
        return keeper

    # The boxes take a while to be imported, which is done beside the API's start.
    with step(f"API on port {facts.ports[plan.API]}") as told:
        of_boxes = [begin(program) for program in plan.boxes(facts)]
        ready.until_ready(begin(plan.api(facts)))
        told.done = f"The API is ready on port {facts.ports[plan.API]}"
    of_door = None if door is None else begin(plan.door(facts, door))
    schedulers = [begin(program) for program in plan.schedulers(facts)]
    of_runner = begin(plan.runner(facts, enrolled.host_secret)) if enrolled.host_is_admitted else None
    with step("Two schedulers are ready"):
        for keeper in schedulers:
            ready.until_ready(keeper)
    if door is not None and of_door is not None:
        with step(f"The API for other machines listens on {door.url}"):
            ready.until_listening(of_door, door.address)
    if of_runner is None:
        say(f"  The host {plan.HOST} was revoked, so its runner is not started")
        return
    with step(f"The host {plan.HOST} is online, with {len(plan.DEVICES)} virtual devices"):
        for keeper in of_boxes:
            ready.until_ready(keeper, "/health")
        ready.until_online(api, plan.HOST, of_runner)


def _stop(keepers: Sequence[Keeper]) -> None:
    """Services first, together; the API last of them, to take what they still say; then broker and database."""
    if not keepers:
        return
    with step("Everything has stopped"):
        for keeper in keepers:
            keeper.leave()
        for wave in _waves(keepers):
            for keeper in wave:
                if isinstance(keeper.member, Program):
                    keeper.member.ask_to_stop()
            with ThreadPoolExecutor(max_workers=len(wave)) as pool:
                for _ in pool.map(Keeper.stop, wave):
                    pass


def _waves(keepers: Sequence[Keeper]) -> list[list[Keeper]]:
    servers_ = [keeper for keeper in keepers if not isinstance(keeper.member, Program)]
    api = [keeper for keeper in keepers if keeper.name in {plan.API, plan.DOOR}]
    others = [keeper for keeper in keepers if keeper not in servers_ and keeper not in api]
    return [wave for wave in (others, api, servers_) if wave]
