"""zkjax proves, in zero knowledge, that a neural network was trained as claimed.

Trace a Flax model and an optax optimizer to a circuit of exact integer operations, train in it, prove the run, and let
anyone verify the proof without data or weights. Importing zkjax loads no JAX and changes none of its settings.
"""

import importlib

_PUBLIC = {
    "trace": "tracing.program",
    "trace_step": "tracing.program",
    "Recipe": "tracing.recipe",
    "calibrate": "calibration",
    "calibrate_step": "calibration",
    "Calibration": "calibration",
    "estimate": "planning.estimate",
    "Estimate": "planning.estimate",
    "draw": "training.draw",
    "Drawing": "proofs.drawing",
    "train": "training.train",
    "chunks": "training.train",
    "Run": "training.run",
    "Dataset": "training.dataset",
    "Training": "training.folder",
    "Standing": "training.standing",
    "prove_all": "training.proving",
    "prove": "prover.prove",
    "link": "prover.link",
    "disclose": "prover.disclose",
    "hand_over": "prover.hand_over",
    "Handed": "prover.hand_over",
    "publish": "publishing",
    "check": "auditing.conclusion",
    "Conclusion": "auditing.conclusion",
    "evaluate": "training.evaluate",
    "predict": "training.evaluate",
    "trace_evaluation": "training.evaluate",
    "compare": "training.compare",
    "Comparison": "training.compare",
    "classified": "training.evaluate",
    "Evaluation": "training.evaluate",
    "verify": "verifier",
    "ledger": "verifier",
    "verify_evaluation": "evaluation",
    "Evaluated": "evaluation",
    "verify_comparison": "comparison",
    "Compared": "comparison",
    "Moved": "comparison",
    "Terms": "comparison",
    "verify_lineage": "lineage",
    "Circuit": "circuit.circuit",
    "Precision": "tracing.precision",
    "Proof": "proofs.proof",
    "Statement": "proofs.statement",
    "Published": "proofs.published",
    "Model": "proofs.model",
    "Disclosure": "proofs.disclosure",
    "ZkjaxError": "errors",
    "UnsupportedOperationError": "errors",
    "PrecisionError": "errors",
    "PrecisionWarning": "errors",
    "ReplacedWarning": "errors",
    "DataError": "errors",
    "RunError": "errors",
    "BudgetError": "errors",
    "ConfigurationError": "errors",
    "UnsatisfiedWitnessError": "errors",
    "FormatError": "errors",
    "VerificationError": "errors",
}
__version__ = "0.1.0"
__all__ = [*_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'zkjax' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    except ModuleNotFoundError as error:  # an auditor's environment
        cure = f"zkjax.{name} needs {error.name}; install zkjax with its dependencies. Verifying needs NumPy only"
        if error.name == "fcntl":  # file locks, which protect the opening counters
            cure = f"zkjax.{name} needs the file locks of Unix systems; this one can verify proofs, not make them"
        raise ModuleNotFoundError(cure, name=error.name) from error
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
