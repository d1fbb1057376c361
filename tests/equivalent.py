"""Mutants that no test can notice, and why: what they leave out follows from something else.

(module, function, check, mutation): reason; as in ``mutants.py``.
"""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    ("argument", "argument", "forget_vectors()", "deleted"): "it frees what other arguments left: memory, and nothing that is computed",
    ("claims", "forget_vectors", "_known.__dict__.clear()", "deleted"): "as above",
    ("circuit", "Circuit.from_json", "_list(data['nodes'], 'nodes') (2)", "not validated"): (
        "the same list has been validated where ``last`` is computed from it, a few lines before"
    ),
}
