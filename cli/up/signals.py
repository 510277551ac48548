"""Being told to stop. The signals are never handled in the middle of something: they are asked for where it is safe."""

from __future__ import annotations

import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(Exception):
    """A signal came before the system was up."""


def hold() -> None:
    """From now on they wait until `told` or `wait` asks. To be called before any thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def release() -> None:
    """From now on they end this process at once: who says stop twice does not want to wait."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def told(within: float = 0.0) -> bool:
    """Whether one came, or comes within so many seconds."""
    return signal.sigtimedwait(_SIGNALS, within) is not None


def check() -> None:
    """Raise `StoppedError` when one came."""
    if told():
        raise StoppedError


def pause(seconds: float) -> None:
    """Wait; `StoppedError` as soon as one comes."""
    if told(seconds):
        raise StoppedError


def wait() -> None:
    """Wait for one."""
    signal.sigwait(_SIGNALS)
