"""What a script says and leaves behind, through the whole system: a line at once, files after its end."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.lab import Lab
from tests.support.wait import until


def followed(lab: Lab, path: str) -> tuple[str, list[tuple[int, float]], list[float], dict[str, Any]]:
    """The text of a followed log, when how many bytes of it had been seen, how late each of its ticks was, its end."""
    text, begun, seen, lateness, kind = "", "", [], [], ""
    with lab.system.client.stream("GET", f"{path}/log", params={"follow": "true"}, timeout=30) as answer:
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data" and kind == "output":
                piece = json.loads(value)["text"]
                text += piece
                seen.append((len(text.encode()), time.time()))
                # A piece ends where the pipe was read, which may be within a line.
                *lines, begun = (begun + piece).split("\n")
                lateness += [time.time() - float(tick.split()[1]) for tick in lines if "tick" in tick]
            elif field == "data":
                return text, seen, lateness, json.loads(value)
    raise AssertionError(f"it broke off after {text!r}")


def ahead_of_the_store(lab: Lab, execution_id: str, seen: list[tuple[int, float]]) -> list[float]:
    """By how many seconds the beginning of each stored part of the log was seen before the part was stored."""
    parts = sorted((lab.system.home / "artifacts" / "logs" / execution_id).iterdir())
    return [part.stat().st_mtime - next(at for size, at in seen if size > int(part.name)) for part in parts]


def test_a_line_is_seen_well_before_it_is_stored_and_the_report_is_in_the_execution(lab: Lab) -> None:
    run = lab.run(lab.deploy("reporter", more="--ticks 12 --leave"))
    path = f"/api/v1/executions/{run['id']}"
    text, seen_at, lateness, end = followed(lab, path)
    assert text.splitlines()[0] == "started on stb-1"
    assert text.splitlines()[-1] == "SCRIPT_SUCCESS:true"
    assert len(lateness) == 12
    # Against the store itself, which is as slow as the machine; without live pieces all is seen after it was stored.
    # What came before the subscription is in the first part; the last one may be stored when it was hardly printed.
    ahead = ahead_of_the_store(lab, run["id"], seen_at)[1:-1]
    assert sum(seconds > 0 for seconds in ahead) > len(ahead) / 2, ahead
    print("ticks were seen after", [round(late, 3) for late in lateness])  # noqa: T201 - a figure for who asks
    ended = lab.wait_for_end(run)
    assert end == {"status": "completed", "size": ended["log_bytes"]}
    assert lab.system.client.get(f"{path}/log").text == text

    def reported() -> dict[str, Any] | None:
        seen = lab.execution(run)
        return seen if seen["report_url"] and seen["junit"] else None

    seen = until(reported, within=10, what="report and JUnit are in the execution")
    assert seen is not None
    assert seen["junit"] == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}
    page = lab.system.client.get(seen["report_url"], follow_redirects=True)
    assert (page.status_code, page.text) == (200, "<h1>gated</h1>")
    folder = lab.system.state_dir / "artifacts" / run["id"]
    until(lambda: not folder.exists(), within=5, what="the folder is removed")
