"""Scripts, as hosts reported them."""

from __future__ import annotations

from libs.contracts import ScriptParameter
from services.api.shapes.base import Shape


class Script(Shape):
    """A script that a host can run."""

    name: str
    host_name: str
    parameters: list[ScriptParameter]
