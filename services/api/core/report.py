"""Which of an execution's artifacts is its report, and of what kind each of them is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from mimetypes import MimeTypes

# Not the machine's own list: the same file has the same type wherever the API runs.
_KNOWN = MimeTypes(filenames=())
for _type, _ending in (
    ("text/plain", ".log"),
    ("text/markdown", ".md"),
    ("application/yaml", ".yaml"),
    ("text/xml", ".xml"),
):
    _KNOWN.add_type(_type, _ending)

_OTHER = "application/octet-stream"


def report_of(names: Iterable[str]) -> str | None:
    """`report.html`, else the one HTML file that there is; None when there is none or more than one."""
    pages = [name for name in names if name.lower().endswith((".html", ".htm"))]
    if "report.html" in pages:
        return "report.html"
    return pages[0] if len(pages) == 1 else None


def media_type(name: str) -> str:
    """By the name's ending; text is taken for UTF-8. What is packed is bytes."""
    kind, packed = _KNOWN.guess_type(f"/{name}")
    if kind is None or packed is not None:
        return _OTHER
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
