"""Chaos runs on the same system as the end-to-end tests."""

from tests.e2e.conftest import lab

__all__ = ["lab"]
