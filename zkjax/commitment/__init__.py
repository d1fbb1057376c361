"""Commitments to matrices over F, and one zero-knowledge opening for many of them."""

from .commit import Commitment, Committed, Mask, Opened, Part, commit, stack
from .geometry import Geometry, Term
from .opening import check_opening, open_claim, verify_claim

__all__ = [
    "Commitment",
    "Committed",
    "Geometry",
    "Mask",
    "Opened",
    "Part",
    "Term",
    "check_opening",
    "commit",
    "open_claim",
    "stack",
    "verify_claim",
]
