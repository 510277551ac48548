"""Keeps one member of the system running: what ends without being told to is started again."""

from __future__ import annotations

import signal
import threading
import time

from cli.up.member import Member
from cli.up.roster import Roster
from cli.up.say import say
from libs.chassis.backoff import delays
from libs.stack.process import Child

_LOOK_SECONDS = 0.2
# What lived so long was well: the next pause starts small again.
_GOOD_AFTER_SECONDS = 30.0


class Keeper:
    """One member and the thread that watches it."""

    def __init__(self, name: str, member: Member, roster: Roster) -> None:
        self.name = name
        self.member = member
        self.deaths = 0
        self._roster = roster
        self._stopping = threading.Event()
        self._child: Child | None = None
        self._pauses = delays()
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{name}", daemon=True)

    def start(self) -> None:
        """Start the member, and watch it from now on. Raises what its start raises."""
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        """Stop the member; it is not started again. Boring when it does not run."""
        self.leave()
        self.member.stop()

    def leave(self) -> None:
        """Watch no longer: it is about to be told to stop."""
        self._stopping.set()

    def last_words(self) -> str:
        """The end of the member's log, on one line."""
        return "" if self._child is None else self._child.last_words(2)

    def _begin(self) -> None:
        self._child = self.member.start()
        self._roster.record(self.name, self._child, self.member.port)

    def _keep(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            child = self._child
            code = None if child is None else child.poll()
            if child is not None and code is not None:
                self._again(child, code)

    def _again(self, child: Child, code: int) -> None:
        self.deaths += 1
        if time.time() - child.started_at > _GOOD_AFTER_SECONDS:
            self._pauses = delays()
        pause = next(self._pauses)
        say(f"{self.name} (pid {child.pid}) {_ending(code)}; it is started again in {pause:g} s, its log: {child.log}")
        if self._stopping.wait(pause):
            return
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001  # supervisor: whatever keeps it from starting, it is tried again
            say(f"{self.name} could not be started: {error}")


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
