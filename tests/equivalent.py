"""Mutants that no test can notice, and why: what they leave out follows from something else.

(module, function, check, mutation): reason; as in ``mutants.py``.
"""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
