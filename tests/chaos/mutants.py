"""The product broken on purpose, one fault at a time, each run against the row that should turn red.

`python -m tests.chaos.mutants [--only NAME …]` copies the tree, breaks the copy, runs the row there and tells whether
it was found. A mutant that survives is named: either a row is missing, or something else makes the fault harmless.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from libs.stack.errors import StackError
from libs.stack.process import run

ROOT = Path(__file__).parents[2]
COPIED = ("libs", "services", "cli", "examples", "tests", "pyproject.toml")
SECONDS = 400.0
SEED = 1
NOT_REACHED = "nobody came by"
"""A row that did not come to what it is about has found nothing."""


@dataclass(frozen=True)
class Edit:
    """`old`, which is once in `file`, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """`old` in `file` becomes `new`; one of `rows` should then be broken.

    `also`: what else is taken away with it, because that alone makes the fault good.
    """

    name: str
    says: str
    file: str
    old: str
    new: str
    rows: tuple[str, ...]
    also: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All of them."""
        return Edit(self.file, self.old, self.new), *self.also


NOT_SENT_AGAIN = Edit(
    "services/scheduler/sql/sweep.sql",
    "WHERE e.status = 'triggered' AND NOT e.held\n      AND o.not_after",
    "WHERE false AND NOT e.held\n      AND o.not_after",
)
HOSTS_NOT_ASKED = Edit(
    "services/scheduler/sweep.py",
    "                for host, team in hosts.items()\n",
    "                for host, team in hosts.items()\n                if not host\n",
)


MUTANTS = (
    Mutant(
        "no-outbox-mark",
        "of what the broker has confirmed some is never marked",
        "services/scheduler/drain.py",
        "await connection.execute(STATEMENTS.mark_published, sorted(out))",
        "await connection.execute(STATEMENTS.mark_published, [each for each in sorted(out) if each % 9])",
        ("kill:any",),
    ),
    Mutant(
        "ack-before-journal",
        "a delivery is acknowledged before it is decided and written down, and no trigger is sent again",
        "services/host_runner/intake.py",
        "        try:\n"
        "            todo = decide(decode(delivery.type, delivery.body))\n"
        "        except ContractError as error:\n"
        '            log.warning("A message goes to the dead letters", queue=queue, '
        "id=delivery.message_id, reason=str(error))\n"
        "            await subscription.reject(delivery.delivery_tag)\n"
        "            return\n"
        "        try:\n"
        "            await subscription.ack(delivery.delivery_tag)\n"
        "        finally:\n"
        "            # It is decided, whether or not the broker hears of it: a redelivery does nothing.\n"
        "            self._runner.perform(todo)\n",
        "        await subscription.ack(delivery.delivery_tag)\n"
        "        try:\n"
        "            todo = decide(decode(delivery.type, delivery.body))\n"
        "        except ContractError as error:\n"
        '            log.warning("A message goes to the dead letters", queue=queue, '
        "id=delivery.message_id, reason=str(error))\n"
        "            return\n"
        "        self._runner.perform(todo)\n",
        ("kill:runner.trigger.received",),
        (NOT_SENT_AGAIN,),
    ),
    Mutant(
        "no-dedupe",
        "a host forgets which executions it has decided",
        "services/host_runner/runner.py",
        "RunRequested(trigger, self.journal.knows(trigger.execution_id), self.now())",
        "RunRequested(trigger, False, self.now())",
        ("messages:again-later",),
    ),
    Mutant(
        "no-start-mark",
        "a shim starts although another has left its mark",
        "services/host_runner/shim/record.py",
        "            posix.unlink(self.status, dir_fd=self.folder)\n            return False\n",
        "            pass\n",
        ("shim:late-and-another", "kill:runner.spawn.done"),
    ),
    Mutant(
        "no-fence",
        "a host takes triggers from before a pause",
        "services/host_runner/core/decide.py",
        "if fence is not None and (trigger.ledger_epoch, trigger.version) < fence.position:",
        "if fence is not None and (trigger.ledger_epoch, trigger.version) < (0, 0):",
        ("users:pause-unheard",),
    ),
    Mutant(
        "fold-without-guard",
        "a late fact moves a row back",
        "services/api/core/projection.py",
        "    return may_follow(row.status, following, presumed=row.presumed)\n",
        "    return True\n",
        ("messages:again-later", "messages:mangled"),
    ),
    Mutant(
        "no-presence",
        "a runner does not ask whether it is the only one",
        "services/host_runner/session.py",
        "stopping=self.stopping, exclusive=True)",
        "stopping=self.stopping, exclusive=False)",
        ("host:two-runners",),
    ),
    Mutant(
        "confirm-not-awaited",
        "events count as confirmed when they were written",
        "services/host_runner/outbound.py",
        "                    if receipt is Receipt.CONFIRMED\n",
        "                    if receipt is not Receipt.RETURNED\n",
        ("broker:killed-with-unconfirmed-events",),
    ),
    Mutant(
        "ack-before-commit",
        "the ingest acknowledges a batch before it is folded, and no host is asked what it said",
        "libs/chassis/amqp/consumer.py",
        "            if await _patiently(subscription, handler, batch, transient, patience_seconds) is Verdict.RETRY:\n"
        "                return\n            await subscription.ack(batch[-1].delivery_tag, multiple=True)\n",
        "            await subscription.ack(batch[-1].delivery_tag, multiple=True)\n"
        "            if await _patiently(subscription, handler, batch, transient, patience_seconds) is Verdict.RETRY:\n"
        "                return\n",
        ("kill:ingest-with-an-end",),
        (HOSTS_NOT_ASKED,),
    ),
    Mutant(
        "no-republish",
        "what a broker lost with its data is not sent again",
        NOT_SENT_AGAIN.file,
        NOT_SENT_AGAIN.old,
        NOT_SENT_AGAIN.new,
        ("broker:wiped-with-a-trigger",),
    ),
    Mutant(
        "presumed-is-final",
        "an ending that was only presumed does not give way to the host's word",
        "services/api/core/projection.py",
        "    return may_follow(row.status, following, presumed=row.presumed)\n",
        "    return may_follow(row.status, following, presumed=False)\n",
        ("host:gone-and-back",),
    ),
    Mutant(
        "no-slot-rule",
        "a second run is parked over the one that waits",
        "services/host_runner/core/decide.py",
        "    if run.deployment in host.pending:\n",
        "    if run.deployment in ():\n",
        ("users:slot",),
    ),
    Mutant(
        "device-not-asked",
        "a run starts on a device that another one has",
        "services/host_runner/core/host.py",
        "        return next((run for run in self.running.values() if run.device == device), None)",
        "        return None",
        ("users:race", "kill:any"),
    ),
    Mutant(
        "limit-without-flight",
        "only what has ended counts towards the limit",
        "libs/ledger/sql/decisions.sql",
        "  AND (status IN ('triggered', 'queued', 'running') OR presumed)\nGROUP BY deployment_id;\n\n-- name: held",
        "  AND presumed\nGROUP BY deployment_id;\n\n-- name: held",
        ("users:limit",),
    ),
    Mutant(
        "sessions-for-ever",
        "a process that stands still keeps its row locks",
        "libs/ledger/pool.py",
        '_IDLE_IN_TRANSACTION = "15s"',
        '_IDLE_IN_TRANSACTION = "0"',
        ("stop:scheduler",),
    ),
    Mutant(
        "late-not-ended",
        "what the broker did not take within its window stays open",
        "services/scheduler/sweep.py",
        "        late = await connection.fetch(STATEMENTS.late)\n",
        "        late: list[asyncpg.Record] = []\n",
        ("broker:long-away",),
    ),
    Mutant(
        "leftovers-live",
        "what a dead shim leaves behind is not killed",
        "services/host_runner/process.py",
        "            await asyncio.to_thread(kill_cgroup, cgroup, execution_id)\n"
        "            killed += await asyncio.to_thread(kill_leftovers, execution_id)\n",
        "",
        ("kill:shim",),
    ),
    Mutant(
        "declared-once",
        "exchanges and queues are declared on a new connection only",
        "services/api/topology.py",
        "await asyncio.wait_for(self.stopping.wait(), self._every_seconds)",
        "await asyncio.wait_for(self.stopping.wait(), 3600)",
        ("broker:queue-deleted",),
    ),
    Mutant(
        "clock-is-believed",
        "a host takes its own clock for the ledger's, whatever it knows of that one",
        "services/host_runner/core/host.py",
        "        return now + timedelta(seconds=self.clock_offset_seconds or 0.0)",
        "        return now",
        ("clock:host-and-locks",),
    ),
)


def attempt(mutant: Mutant) -> tuple[str, list[str]]:
    """`found` with what broke, `survived`, `no verdict`, or `no mutant` when the place is not there any more."""
    folder = Path(tempfile.mkdtemp(prefix="rigbeat-mutant-"))
    try:
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        for edit in mutant.edits:
            place = folder / edit.file
            text = place.read_text()
            if text.count(edit.old) != 1:
                return "no mutant", [f"{edit.file} has the place {text.count(edit.old)} times"]
            place.write_text(text.replace(edit.old, edit.new))
        seen: list[str] = []
        for row in mutant.rows:
            command = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--row", row, "--results", "results"]
            try:
                ended = run(command, cwd=folder, within=SECONDS)
            except StackError as error:
                return "no verdict", [f"{row}: {error}"]
            written = folder / "results" / f"seed-{SEED}.jsonl"
            results = written.read_text().splitlines() if written.exists() else []
            broken = [sentence for line in results for sentence in json.loads(line)["broken"]]
            if broken and NOT_REACHED not in broken[0]:
                return "found", [f"{row}: {broken[0]}"]
            if broken or ended.code != 0 or not results:
                return "no verdict", [f"{row}: {ended.tail(2)}"]
            seen.append(row)
        return "survived", [f"green: {', '.join(seen)}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """0: each was found; 1: one was not."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="only the mutants of these names")
    chosen = [each for each in MUTANTS if not (only := parser.parse_args().only) or each.name in only]
    survived = 0
    for mutant in chosen:
        began = time.monotonic()
        verdict, words = attempt(mutant)
        survived += verdict != "found"
        took = time.monotonic() - began
        sys.stdout.write(f"{verdict:<10} {mutant.name:<22} {took:4.0f} s  {mutant.says}: {words[0]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutants, {len(chosen) - survived} found\n")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
