"""The checks of the invariants I1 to I8: scanner, API and tests use them."""
