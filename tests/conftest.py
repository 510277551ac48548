"""Fixtures of all tests, by where they live."""

pytest_plugins = ("tests.support.ledger",)
