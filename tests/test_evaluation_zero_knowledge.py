"""What an evaluation tells of the weights beside its outputs: nothing, as it opens their commitment within the training's own budget.

By the rank tests of ``test_links_zero_knowledge.py``: of the training's proofs and the evaluation's together.
"""

from dataclasses import replace
from functools import cache

import jax.numpy as jnp
import moving
import pytest
from test_links_zero_knowledge import after, between_two_chunks, generations, start_of, together
from zero_knowledge import tiny_data

import zkjax
from zkjax.circuit.parts import CELLS, PARAMETERS
from zkjax.training.evaluate import evaluation_run

FORMATS = zkjax.Precision(table_bits=6, activation_scale=3, activation_bits=4, data_bits=(4, 4))


def metrics(params, x, y):
    first, second = params
    out = jnp.maximum(x @ first["w"] + first["b"], 0.0) @ second["w"] + second["b"]
    return {"off": jnp.sum(jnp.abs(out - y))}


def frozen_metrics(params, x):
    return {"off": jnp.sum(jnp.abs(x @ (params["w"] + params["v"]) - x @ params["f"]))}


@cache
def together_with_a_training(budget: int, name: str = "plain"):
    """Parts of the proofs of a chunk, of an evaluation of its last weights, and of the next chunk, which replace nothing."""
    run = after(start_of(name, budget), 0)  # not the first chunk: an evaluation's own commitments have the numbers 0 and 1
    told, data = (metrics, tiny_data(1)) if name == "plain" else (frozen_metrics, (moving.start(frozen=True)[1][0][:4],))
    params = run.params if name == "plain" else dict(zip("wvf", run.params, strict=True))
    formats = FORMATS if name == "plain" else replace(FORMATS, table_bits=9, activation_scale=1, activation_bits=7, data_bits=(4,))
    circuit = zkjax.trace_evaluation(run.circuit, told, params, data, steps=1, precision=formats)
    return between_two_chunks(run, budget, "evaluated", lambda: evaluation_run(run, circuit, data, 2))


@pytest.mark.parametrize("budget", [3, 2])
def test_an_evaluation_tells_nothing_within_the_budget(budget):
    """Three openings of the weights, with randomness for three; with randomness for two they tell of the weights."""
    found = together_with_a_training(budget)
    (seed,) = generations(found, "weights", 4, PARAMETERS)
    assert [seed in part.columns for part in found] == [True] * 3
    assert (together(found) > 0) == (budget < 3)
    assert together(found, kept={seed: 0}) > 0


@pytest.mark.parametrize("budget", [3, 2])
def test_nor_does_it_tell_of_frozen_parameters(budget):
    """Which three proofs open likewise."""
    found = together_with_a_training(budget, "momentum")
    (seed,) = generations(found, "frozen", 0, CELLS)
    assert [seed in part.columns for part in found] == [True] * 3
    assert (together(found) > 0) == (budget < 3)
    assert together(found, kept={seed: 0}) > 0
