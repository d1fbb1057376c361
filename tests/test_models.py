"""The models of ``experiments/``, narrow: two steps beside optax in float32, proven and verified; and one of them by its command."""

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import pytest
from harness import prove_small, verify_small

import zkjax


@pytest.fixture
def small(experiment):
    """Every model in a small size, by name."""
    models, others = experiment("models"), experiment("others")
    found = {**models.MODELS, **others.MODELS}
    letters = {"module": models.Transformer(8, 4, 1, 1), "shape": (6,), "classes": 8, "batch": 4}
    characters = replace(others.CHARACTERS, **letters, data=lambda: experiment("text").load(characters))
    pictures = {"module": others.MLP(8), "shape": (8, 8, 1), "batch": 8}
    digits = replace(others.DIGITS, **pictures, data=lambda: experiment("pictures").load(digits))
    changes = {
        "vgg": {"module": models.VGG((2, 4, 4), (0, 1)), "shape": (8, 8, 3), "batch": 4},
        "lstm": {"module": models.LSTM(4), "shape": (3, 4, 1), "batch": 4},
        "vae": {"module": others.VAE(8, 2), "batch": 8},
        "factorisation": {"module": others.Factors(20, 64, 2), "batch": 16, "data": partial(others.ratings, 20)},
        "graph": {"module": others.GCN(4), "data": partial(others.neighbours, 24, 3, 1)},
        "control": {"module": others.Values(8), "batch": 16},
        "adapters": {**letters, "rank": 2, "base": characters, "before": 4, "data": lambda: characters.data()},
        "inference": {**pictures, "base": digits, "before": 4, "data": digits.data},
    }
    return {name: replace(found[name], steps=2, **change) for name, change in changes.items()}


def size(tree) -> float:
    return float(np.sqrt(sum((np.asarray(x, np.float64) ** 2).sum() for x in jax.tree.leaves(tree))))


# How far two steps may end from those of float32, in parts of their own length: Adam's first ones are signs, also of what rounds to 0.
OFF = {"vgg": 0.05, "lstm": 0.1, "vae": 0.1, "factorisation": 0.2, "graph": 0.3, "control": 0.1, "adapters": 0.3, "inference": 0}


pytestmark = [
    pytest.mark.filterwarnings("ignore:no parameter is updated:zkjax.PrecisionWarning"),  # where a net is only run
    # a target begins as a copy of the parameters, and its first update is nothing but what rounds
    pytest.mark.filterwarnings("ignore:the circuit's update of parameter state/:zkjax.PrecisionWarning"),
]


@pytest.mark.parametrize("name", OFF)
def test_a_model_follows_float_and_is_proven(small, name):
    model, arrays = small[name], small[name].samples(40)
    params = model.initial()
    circuit = zkjax.trace(model.loss, model.optimizer(), params, batch=model.first(arrays), steps=4, chunk=2, **model.traced())
    run = zkjax.train(circuit, params, arrays, steps=2, state=model.state())
    trained, losses = model.float_training(model.batches(arrays, 2))
    assert np.allclose(run.float_losses, losses, rtol=0.01, atol=0.01)
    less = partial(jax.tree.map, lambda a, b: np.asarray(a, np.float64) - np.asarray(b, np.float64))
    moved = size(less(trained, params))
    assert size(less(run.params, trained)) <= max(OFF[name] * moved, 2e-4 * size(params))  # first weights have 14 bits
    assert (moved == 0) == (model.optimizer is optax.set_to_zero)
    assert verify_small(circuit, prove_small(circuit, run)).steps == 2


def test_the_command(experiment, small, tmp_path, monkeypatch, capsys):
    """One proof of a model that was traced with a state, verified in a process of its own; and both scores."""
    others = experiment("others")
    monkeypatch.setitem(others.MODELS, "control", small["control"])
    assert others.main(["--model", "control", "--steps", "2", "--out", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "report.json").read_text())["figures"]
    assert (figures["data"], len(figures["proof_bytes"])) == ("a cart with a pole", 1)
    assert figures["judged"] in capsys.readouterr().out and figures["exact_score"] > 0


def test_a_pole_falls_when_it_is_left_alone(experiment):
    cartpole = experiment("cartpole")
    states, actions, after, ended = cartpole.transitions(4096)
    assert np.allclose(cartpole.pushed(states, actions), after, atol=1e-6) and np.array_equal(cartpole.fallen(after), ended)
    assert not cartpole.fallen(states).any() and 0 < ended.mean() < 0.1
    alone, watched = (cartpole.balanced(policy) for policy in (lambda x: np.zeros(len(x), int), lambda x: x[:, 2] + x[:, 3] > 0))
    assert alone < 11 < 100 < watched
