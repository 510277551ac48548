"""The OpenAPI document as a page for people: all routes and shapes, and no script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

Json = Mapping[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")


def reference(document: Json) -> str:
    """HTML, all of it escaped, for inside a page's body. `document` is an OpenAPI document of version 3.1."""
    operations = sorted(_operations(document), key=lambda one: (one[0], one[1], _METHODS.index(one[2])))
    parts = ["<p>The same for programs: <a href='/openapi.json'>/openapi.json</a>.</p>"]
    for tag, group in groupby(operations, key=lambda one: one[0]):
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_operation(path, method, one) for _, path, method, one in group]
    parts.append("<h2>Shapes</h2>")
    for name, shape in sorted(document.get("components", {}).get("schemas", {}).items()):
        parts.append(f"<details id='{escape(name)}'><summary>{escape(name)}</summary>{_code(shape)}</details>")
    return "".join(parts)


def _operations(document: Json) -> Iterator[tuple[str, str, str, Json]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                one = methods[method]
                yield next(iter(one.get("tags", [])), "others"), path, method, one


def _operation(path: str, method: str, one: Json) -> str:
    rows = "".join(_parameter(each) for each in one.get("parameters", []))
    takes = f"<table>{rows}</table>" if rows else ""
    body = one.get("requestBody")
    if body is not None:
        takes += "".join(f"<p>Body: {escape(kind)} {_shape(each)}</p>" for kind, each in body["content"].items())
    answers = "".join(
        f"<li><b>{escape(status)}</b> {escape(each.get('description', ''))} "
        f"{' '.join(_shape(one) for one in each.get('content', {}).values())}</li>"
        for status, each in one["responses"].items()
    )
    first, _, more = one.get("description", one.get("summary", "")).partition("\n")
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(first)}</summary>"
        f"<p>{escape(more.strip())}</p>{takes}<ul>{answers}</ul></details>"
    )


def _parameter(each: Json) -> str:
    needed = "needed" if each.get("required") else ""
    about = each.get("description") or each.get("schema", {}).get("description") or ""
    return (
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td><td>{needed}</td>"
        f"<td>{escape(about)}</td></tr>"
    )


def _shape(content: Json) -> str:
    """Its name, which leads to what it is; nothing for what has none."""
    schema = content.get("schema", {})
    name = str(schema.get("$ref", schema.get("items", {}).get("$ref", ""))).rpartition("/")[2]
    many = "list of " if name and "items" in schema else ""
    return f"{many}<a href='#{escape(name)}'>{escape(name)}</a>" if name else ""


def _code(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"
