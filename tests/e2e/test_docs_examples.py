"""Every example of the docs that is marked `run` is run, against a whole system, and prints what the page says.

A page's commands find what a reader finds: `.venv`, `.rigbeat` and `examples` in the folder, the API on port 8080.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.up.plan import DEVICES, HOST
from libs.stack.process import run
from tests.e2e.lab import Lab
from tests.support.doc_examples import Example, examples, outputs, problems, session

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): blocks
    for page in sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *ROOT.glob("docs/**/*.md")])
    if (blocks := examples(page.read_text()))
}
DOCUMENTED_API = "http://127.0.0.1:8080"
PAGE_SECONDS = 120.0


@pytest.fixture
def reader(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The folder in which a reader types; what was deployed from there is deleted at the end."""
    for name, target in {".venv": Path(sys.prefix), ".rigbeat": lab.system.home, "examples": ROOT / "examples"}.items():
        (tmp_path / name).symlink_to(target)
    yield tmp_path
    for device in DEVICES:
        lab.call("POST", f"/hosts/{HOST}/devices/{device}/unlock")
    for deployment in lab.call("GET", "/deployments", params={"limit": 200})["items"]:
        lab.deployed.append(deployment["id"])
        for execution in lab.executions(deployment):
            if execution["status"] in {"queued", "running", "triggered"}:
                lab.call("POST", f"/executions/{execution['id']}/cancel", expect=202)


def play(blocks: list[Example], folder: Path, api: str) -> list[str]:
    """Run a page's examples; what is not as it says."""
    environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}  # noqa: TID251 - a reader's
    environment |= {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "NO_COLOR": "1"}
    program = folder / "page.sh"
    program.write_text(session(blocks).replace(DOCUMENTED_API, api))
    ended = run(["/bin/bash", program], env=environment, cwd=folder, within=PAGE_SECONDS)
    return problems(blocks, outputs(ended.output.replace(api, DOCUMENTED_API)), ended.code)


@pytest.mark.curl
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_page_do_what_it_says(page: str, reader: Path, lab: Lab) -> None:
    wrong = play(PAGES[page], reader, lab.system.url)
    assert not wrong, f"{page}, " + f"\n{page}, ".join(wrong)


def test_an_example_that_fails_is_seen(tmp_path: Path) -> None:
    page = "```sh run\necho one\n```\n\n```text expected\none\n```\n\n```sh run\nx=1\nfalse\necho two\n```\n"
    [wrong] = play(examples(page), tmp_path, DOCUMENTED_API)
    assert wrong == "line 9: printed\n\nand ended with exit code 1"
