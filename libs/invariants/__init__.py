"""The checks of the invariants, over the ledger of a live system: scanner, API and tests use them."""

from libs.invariants.bounds import ON_REQUEST, SCAN, Bounds
from libs.invariants.finding import CHECKS, Check, CheckName, Finding
from libs.invariants.verify import CHECKED, Look, look, verify

__all__ = [
    "CHECKED",
    "CHECKS",
    "ON_REQUEST",
    "SCAN",
    "Bounds",
    "Check",
    "CheckName",
    "Finding",
    "Look",
    "look",
    "verify",
]
