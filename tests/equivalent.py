"""Mutants that no test can notice, and why: what they leave out follows from something else.

(module, function, check, mutation): reason; as in ``mutants.py``.
"""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    ("circuit.circuit", "Circuit.from_json", "_list(data['nodes'], 'nodes') (2)", "not validated"): (
        "the same list has been validated where ``last`` is computed from it, a few lines before"
    ),
}
