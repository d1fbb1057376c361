"""What a comparison tells of the weights beside its outputs: nothing, as it opens both commitments within the training's own budget.

By the rank tests of ``test_links_zero_knowledge.py``: of the training's proofs and the comparison's together.
"""

from functools import cache

import numpy as np
import pytest
from test_links_zero_knowledge import after, between_two_chunks, generations, start_of, together

from zkjax.circuit.parts import PARAMETERS
from zkjax.comparison import Part, Terms
from zkjax.training.compare import ends_of
from zkjax.training.evaluate import reading


@cache
def together_with_a_training(budget: int):
    """Parts of the proofs of a chunk, of a comparison of the weights before and after it, and of the next chunk, which replace nothing."""
    run = after(start_of("plain", budget), 0)  # not the first chunk: a comparison's own commitments have the numbers 0 and 1
    path = run.circuit.parameters[0].path
    circuit = Terms((Part((path,), 2),)).circuit(run.circuit)
    return between_two_chunks(run, budget, "compared", lambda: reading(circuit, ends_of(run, run), (np.zeros(1),), 1))


@pytest.mark.parametrize("budget", [3, 2])
def test_a_comparison_tells_nothing_within_the_budget(budget):
    """Three openings of the last weights, two of the first ones; with randomness for two the three tell of the weights."""
    found = together_with_a_training(budget)
    for number, opened in ((2, [True, True, False]), (4, [True] * 3)):
        (seed,) = generations(found, "weights", number, PARAMETERS)
        assert [seed in part.columns for part in found] == opened
        assert together(found, kept={seed: 0}) > 0
    assert (together(found) > 0) == (budget < 3)
