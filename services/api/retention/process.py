"""The process of the retention: one part, and one way to end."""

from __future__ import annotations

from collections.abc import Sequence

from libs.chassis.lifecycle import Part, main
from services.api.object_store import open_store
from services.api.retention.files import OldFiles
from services.api.retention.keeper import Keeper
from services.api.settings import Settings


def run() -> int:
    """Be the retention until a signal, and answer the exit code: 0 after a signal, 1 if it ended by itself."""
    try:
        main("retention", Settings, build, uvloop=True)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else 1


async def build(settings: Settings) -> Sequence[Part]:
    """The parts, in the order in which they start."""
    files = OldFiles(open_store(settings.artifacts_url))
    return [Keeper(settings.reach(settings.ingest_database_url), files)]
