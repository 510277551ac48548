"""Fixtures and rules of all tests, by where they live."""

pytest_plugins = (
    "tests.support.versions",  # first: others import it
    "tests.support.ledger",
    "tests.support.needs",
    "tests.support.scheduling",
    "tests.support.seed",
    "tests.support.servers",
    "tests.support.api",
    "tests.support.broken_ledger",
    "tests.support.s3",
    "tests.support.system",
)
