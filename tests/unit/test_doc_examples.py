"""How the docs' examples are read and judged: what would let a wrong page pass is shown not to."""

from __future__ import annotations

import pytest

from tests.support.doc_examples import Example, PageError, examples, matches, outputs, problems

PAGE = """\
Text.

```sh run
one
```

It says:

```text expected
1
```

```sh
not run
```

```sh run
two  # a comment
# -> 2
```
"""


def test_blocks_are_found_with_their_lines_and_what_they_print() -> None:
    first, second = examples(PAGE)
    assert (first.line, first.commands, first.expected) == (3, "one\n", "1\n")
    assert (second.line, second.expected, second.said) == (17, None, ["2"])


def test_what_is_expected_of_nothing_is_an_error() -> None:
    with pytest.raises(PageError, match="line 5"):
        examples("```sh\none\n```\n\n```text expected\n1\n```\n")


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a b\n", "a\tb\n", True),
        ("a ... c", "a b b c", True),
        ("a ... c", "a c", False),
        ("a...c", "ac", True),
        ("a\n...\nz", "a\nm\nn\nz\n", True),
        ("a\n...\nz", "a\nz\n", True),
        ("a\n...\nz", "a\nm\n", False),
        ("a", "a\nb", False),
        ("a.b", "axb", False),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


def test_every_kind_of_wrong_page_is_a_problem() -> None:
    blocks = [Example(3, "one\n", "1\n"), Example(9, "two\n# -> 2\n")]
    assert problems(blocks, outputs("\x1e1\n\x1e1\n2\n3\n\x1e"), 0) == []
    [other] = problems(blocks, outputs("\x1e7\n\x1e2\n\x1e"), 0)
    assert other.startswith("line 3: printed\n7")
    [unsaid] = problems(blocks, outputs("\x1e1\n\x1e5\n\x1e"), 0)
    assert unsaid.startswith("line 9: printed\n5")
    [failed] = problems(blocks[:1], outputs("\x1e1\n"), 3)
    assert "exit code 3" in failed
    assert failed.startswith("line 3")
    [early] = problems(blocks, outputs("\x1e1\n"), 0)
    assert "not run" in early
