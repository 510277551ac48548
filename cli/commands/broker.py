"""`rigbeat broker`: what waits at the broker, and who takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.options import Run, command
from cli.output import Column

_COLUMNS = (Column("queue"), Column("ready"), Column("consumers"))


@command
def broker(run: Run) -> None:
    """Show how many messages are ready in each queue, and how many consumers it has."""
    with run.api() as api:
        view = api.get("/broker")
    if run.out.as_json:
        run.out.fields(view)
        return
    run.out.many(_queues(view), _COLUMNS)
    if view["dead_letters_open"]:
        run.out.note(f"{view['dead_letters_open']} dead letters are open; see rigbeat dead-letters list.")


def _queues(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [
        {"queue": queue, "ready": view[field], "consumers": view[f"{field}_consumers"]}
        for queue, field in (
            ("results.persist", "results"),
            ("hosts.presence", "presence"),
            ("dead.letters", "dead_letters"),
        )
    ]
    for host in view["hosts"]:
        name = f"host.{host['name']}"
        rows.append({"queue": f"{name}.triggers", "ready": host["triggers"], "consumers": host["consumers"]})
        rows.append({"queue": f"{name}.commands", "ready": host["commands"], "consumers": None})
    return rows
