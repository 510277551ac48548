"""`rigbeat status`."""

from __future__ import annotations

from cli import processes
from cli.options import Run, command, known_processes
from cli.output import Column

_COLUMNS = (Column("name"), Column("status"), Column("pid"), Column("port"), Column("started_at"))


@command
def status(run: Run) -> None:
    """Show the processes that `rigbeat up` started in this home: up, down or restarting."""
    supervised = processes.supervisor(run.home) is not None
    shown = [
        {
            "name": process.name,
            "pid": process.pid,
            "port": process.port,
            "started_at": process.started_at,
            "status": processes.status(processes.is_alive(process), supervised),
        }
        for process in known_processes(run.home)
    ]
    run.out.many(shown, _COLUMNS)
