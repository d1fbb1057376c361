"""First weights whose ranges random forms show, though they are few: with given states, and frozen parameters beside them."""

from unittest import mock

import harness
import moving
import numpy as np
import optax
import tiny

import zkjax
from zkjax.commitment.geometry import Geometry
from zkjax.ops import forms

ROOMY = Geometry(12, 2, 4, level_bits=8)  # the smallest rows that hold a block of cells


def forming():
    """(circuit, a run of its first five steps)."""
    circuit = moving.moving(frozen=True)
    with mock.patch.object(forms, "FEWEST", 0):
        return circuit, zkjax.train(circuit, *moving.start(frozen=True), steps=5)


def runs():
    """(circuit, a run of its first two steps): forms of two matrices, of two blocks and a range each, and limbs of the biases."""
    rng = np.random.default_rng(0)
    params = [
        {"w": (rng.normal(size=(a, b)) * scale).astype(np.float32), "b": np.zeros(b, np.float32)}
        for a, b, scale in ((64, 128, 1 / 8), (128, 64, 1 / 64))
    ]
    x, y = (rng.normal(size=(4, n)).astype(np.float32) for n in (64, 64))
    circuit = zkjax.trace(harness.mlp_loss, optax.sgd(1 / 32), params, batch=(x[:2], y[:2]), precision=tiny.TINY, chunk=2)
    with mock.patch.object(forms, "FEWEST", 2):
        return circuit, zkjax.train(circuit, params, (x, y), steps=2)
