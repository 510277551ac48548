"""The docs speak of what is there: tests that are named exist, links lead somewhere, every feature has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEATURES = (ROOT / "docs" / "features.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+)`", FEATURES))))
def test_every_test_that_the_features_name_exists(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).is_file()
    if function:
        assert re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_feature_has_its_row_and_every_finished_one_its_test() -> None:
    rows = dict(re.findall(r"^\| ([SBN]\d+) \| (.*) \|$", FEATURES, re.MULTILINE))
    assert list(rows) == [f"{kind}{n}" for kind, last in (("S", 20), ("B", 11), ("N", 6)) for n in range(1, last + 1)]
    for name, row in rows.items():
        state, shown_by = row.split("|")[1:3]
        assert state.strip().startswith(("there", "in part", "to come")), name
        assert shown_by.strip() or state.strip().startswith("to come"), f"{name} is claimed and not shown"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readmes_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"run", "test"} <= set(named)
    for target in set(named):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
