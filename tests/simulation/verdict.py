"""The invariants at the end of a run, when nothing moves any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from libs.contracts import OPEN, DeploymentStatus, ExecutionStatus, Kind
from libs.invariants.fires import History, Period, Rows, broken_of_all
from tests.simulation.checks import BrokenError
from tests.simulation.rows import Deployment, Execution
from tests.simulation.world import World


class Verdict:
    """Looks at a world that has come to rest."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = world.ledger
        self._checks = world.checks

    def pronounce(self) -> None:
        """Raises `BrokenError` for the first thing that is wrong."""
        for error in self.faults():
            raise error

    def faults(self) -> Iterator[BrokenError]:
        """Everything that is wrong."""
        yield from self._nothing_is_stuck()
        yield from self._every_fire_has_its_row()
        yield from self._the_ledger_says_what_hosts_said()
        yield from self._limits_are_exact()
        yield from self._hosts_know_what_is_wanted()

    def _nothing_is_stuck(self) -> Iterator[BrokenError]:
        broken = self._checks.broken
        for execution in self._ledger.open.values():
            yield broken("I7", f"{execution.row.id} is still {execution.row.status}", execution.row.id)
        for left in self._ledger.backlogs:
            yield broken("I7", f"a backlog is left: {left.backlog}", left.deployment.row.id)
        for host, waiting in self._ledger.unpublished.items():
            if waiting:
                yield broken("I7", f"{len(waiting)} messages for {host} were never sent", next(iter(waiting)))
        for queue in self._world.broker.queues.values():
            if queue.ready or queue.unacked:
                yield broken("I7", f"{len(queue.ready)} messages are left in {queue.name}")
        for place, identity in self._checks.live.items():
            yield broken("I7", f"the script of {identity} still lives on {place}", identity)
        for machine in self._world.machines.values():
            if machine.runner is None or not machine.is_connected:
                yield broken("I7", f"{machine.name} is not back")
                continue
            for run in machine.runner.host.held():
                yield broken("I7", f"{machine.name} still holds {run.id}", run.id)
            if machine.journal.count_unsent():
                yield broken("I7", f"{machine.name} has events that were never sent")

        for identity, parcel in self._ledger.unanswered.items():
            about = getattr(parcel.message, "execution_id", None)
            yield broken("I7", f"{parcel.message.host} never answered {parcel.message!r}", about or identity)

    def _every_fire_has_its_row(self) -> Iterator[BrokenError]:
        histories, rows = [], {}
        for deployment in self._ledger.deployments.values():
            row = deployment.row
            histories.append(History(row.id, row.name, tuple(deployment.intervals), row.next_fire_at))
            found = [one.row.fire.scheduled_at for one in deployment.executions.values() if _is_nominal(one)]
            rows[row.id] = Rows(frozenset(found))
        begin = min(each.intervals[0].valid_from for each in histories)
        period = Period(begin - timedelta(days=1), self._world.room.now)
        misfits = broken_of_all(histories, rows, period)
        for sentence in (*misfits.missing, *misfits.extra, *misfits.misnamed):
            yield self._checks.broken("I1", sentence)
        for execution in self._ledger.executions.values():
            one = execution.row
            if one.status not in {*OPEN, ExecutionStatus.COMPLETED} and one.outcome.reason is None:
                yield self._checks.broken("I1", f"{one.id} is {one.status} without a reason", one.id)

    def _the_ledger_says_what_hosts_said(self) -> Iterator[BrokenError]:
        for identity, execution in self._ledger.executions.items():
            row = execution.row
            if identity in self._checks.forgotten:
                continue
            word = self._checks.words.get(identity)
            said = row.status, row.outcome.reason
            if word is not None and (word != said or row.presumed):
                text = f"the host said {word}, the ledger has {said}" + (" presumed" if row.presumed else "")
                yield self._checks.broken("I4", f"{identity}: {text}", identity)
            if word is None and (row.presumed or row.status in {"completed", "failed"}):
                yield self._checks.broken("I4", f"{identity} is {said}, and no host said so", identity)

    def _limits_are_exact(self) -> Iterator[BrokenError]:
        for deployment in self._ledger.deployments.values():
            yield from self._limit_is_exact(deployment)

    def _limit_is_exact(self, deployment: Deployment) -> Iterator[BrokenError]:
        row, broken = deployment.row, self._checks.broken
        counted = sum(each.row.counts for each in deployment.executions.values())
        if counted != row.execution_count:
            yield broken("I5", f"{row.name} counts {row.execution_count}, its rows are {counted}", row.id)
        if row.max_executions is None:
            return
        is_lowered = row.id in self._checks.limits_lowered
        tried = sum(map(self._was_tried, self._checks.attempts[row.id] - self._checks.forgotten))
        if not is_lowered and tried > row.max_executions:
            yield broken("I5", f"{row.name} was tried {tried} times, its limit is {row.max_executions}", row.id)
        if row.status is DeploymentStatus.COMPLETED and counted < row.max_executions:
            yield broken("I5", f"{row.name} is completed after {counted} of {row.max_executions}", row.id)
        if row.status is DeploymentStatus.ACTIVE and counted >= row.max_executions:
            yield broken("I5", f"{row.name} has reached its limit and goes on", row.id)
        for identity in deployment.under_way:
            # Only a host that lost its memory may leave a place taken for ever.
            if identity not in self._checks.forgotten:
                yield broken("I5", f"{identity} keeps a place in the limit of {row.name}", identity)

    def _was_tried(self, identity: UUID) -> bool:
        """Whether its script started, or could not be started; one that was cancelled before does not count."""
        word = self._checks.words.get(identity)
        return self._checks.started[identity] > 0 or (word is not None and word[0] is ExecutionStatus.FAILED)

    def _hosts_know_what_is_wanted(self) -> Iterator[BrokenError]:
        for deployment in self._ledger.deployments.values():
            fence = self._world.ingest.fence_of(deployment)
            machine = self._world.machines[deployment.row.host_name]
            if fence is None or machine.runner is None:
                continue
            known = machine.runner.host.fences.get(deployment.row.id)
            if known is None or known.position < (fence.ledger_epoch, fence.version):
                yield self._checks.broken("I7", f"{machine.name} never heard of a fence", deployment.row.id)
        for machine in self._world.machines.values():
            for device, (_, owner, _, _) in self._ledger.hosts[machine.name].locks.items():
                assert machine.runner is not None
                if owner is None and machine.runner.host.lock_of(device) is not None:
                    yield self._checks.broken("I7", f"{device} stays locked")


def _is_nominal(execution: Execution) -> bool:
    return execution.row.fire.kind is not Kind.MANUAL
