"""The checks of the invariants, over the ledger of a live system: scanner, API and tests use them."""

from libs.invariants.finding import Finding
from libs.invariants.verify import CHECKED, verify

__all__ = ["CHECKED", "Finding", "verify"]
