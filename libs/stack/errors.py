"""The one error of this room."""

from __future__ import annotations


class StackError(Exception):
    """A server cannot be had or started; the text is one sentence for a person: what is wrong and what to do."""
