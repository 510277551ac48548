"""What can be wrong with a message: it is the sender's fault, and trying again does not help."""

from __future__ import annotations


class ContractError(ValueError):
    """The peer sent something that is not in the contract: an unknown type, not JSON, a field missing or out of range.

    The message goes to the dead letters with this sentence; it is never tried again.
    """
