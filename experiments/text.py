"""Train, prove and verify a transformer that predicts characters, beside Flax and optax in floating point.

    python experiments/text.py [--steps N] [--chunk N] [--no-proofs] [--out DIR]

The text is Python's own documentation, which comes with it (``pydoc_data.topics``): the most frequent characters, a space for any other.
OUT gets what ``runner.py`` writes.
"""

import argparse
import sys
from collections import Counter
from pydoc_data.topics import topics

import numpy as np
from models import MODELS, Data
from runner import options, run, run_experiment

DOCUMENTATION = "".join(topics.values())


def load(model, name: str = "Python's documentation", text: str = DOCUMENTATION) -> Data:
    """Pieces of a text, and each one's next characters; the last tenth is the test set."""
    kept = [c for c, _ in Counter(DOCUMENTATION).most_common(model.classes)]
    number = {c: k for k, c in enumerate(kept)}
    tokens = np.array([number.get(c, number[" "]) for c in text], np.int32)
    length = model.shape[0]
    rows = tokens[: (len(tokens) - 1) // length * length].reshape(-1, length)
    after = tokens[1 : rows.size + 1].reshape(-1, length)
    cut = len(rows) * 9 // 10
    return Data(name, (rows[:cut], after[:cut]), (rows[cut:], after[cut:]))


def experiment(arguments) -> int:
    return run_experiment(MODELS["transformer"], load(MODELS["transformer"]), arguments)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options(parser, "runs/text")
    return run(parser, arguments, experiment)


if __name__ == "__main__":
    sys.exit(main())
