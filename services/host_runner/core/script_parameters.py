"""What a script takes, for a form: from the text of its sidecar, else from its own text. It is never run to ask it.

The sidecar of `NAME` is `NAME.toml` (`health.py.toml`, or `health.toml`):

    [[parameters]]
    name = "--limit"
    required = false
    default = "10"
    help = "number of probes"
    choices = ["5", "10"]
"""

from __future__ import annotations

import ast
import tomllib
import warnings
from typing import Any

from libs.contracts import ScriptParameter

GIVEN_BY_RUNNER = frozenset({"--host", "--device", "userinterface_name"})
"""What every script is given anyway; a person does not fill it in."""

OPTIONAL_COUNTS = frozenset({"?", "*"})


def described(sidecar: str) -> tuple[ScriptParameter, ...]:
    """The parameters that a sidecar names, in its order. Raises `ValueError` when it is no such file."""
    parameters = tomllib.loads(sidecar).get("parameters", [])
    if not isinstance(parameters, list) or not all(isinstance(one, dict) for one in parameters):
        raise ValueError("`parameters` must be a list of tables, each headed [[parameters]]")
    return tuple(_parameter(one) for one in parameters)


def parsed(source: bytes) -> tuple[ScriptParameter, ...]:
    """The parameters that literal `add_argument` calls name, in their order. Raises `SyntaxError` or `ValueError`.

    What is not literal is left out: a default that is computed is no default here, a computed name no parameter.
    """
    with warnings.catch_warnings(action="ignore"):  # that a string has an odd escape is its author's business
        tree = ast.parse(source)
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"
    ]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    found = (_argument(call) for call in calls)
    return tuple(one for one in found if one is not None and one.name not in GIVEN_BY_RUNNER)


def _argument(call: ast.Call) -> ScriptParameter | None:
    names = [name for name in map(_literal, call.args) if isinstance(name, str) and name]
    if not names:
        return None
    options: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is not None:
            options[keyword.arg] = _literal(keyword.value)
    if options.get("action") in {"help", "version"}:
        return None
    # The long form of a flag says more than the short one.
    name = next((one for one in names if one.startswith("--")), names[0])
    is_positional = not name.startswith("-")
    is_required = options.get("nargs") not in OPTIONAL_COUNTS if is_positional else options.get("required") is True
    return _parameter({**options, "name": name, "required": is_required})


def _parameter(options: dict[str, Any]) -> ScriptParameter:
    name, text, choices = options.get("name"), options.get("help"), options.get("choices")
    if not isinstance(name, str) or not name:
        raise ValueError("a parameter has no `name`")
    return ScriptParameter(
        name=name,
        required=options.get("required") is True,
        default=_word(options.get("default")),
        help=text if isinstance(text, str) else None,
        choices=tuple(str(one) for one in choices) if isinstance(choices, list | tuple) else None,
    )


def _word(value: Any) -> str | None:
    """A default as a person would type it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
