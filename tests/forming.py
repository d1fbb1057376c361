"""First weights whose ranges random forms show, though they are few: with given states, and frozen parameters beside them."""

from unittest import mock

import moving

import zkjax
from zkjax.commitment.geometry import Geometry
from zkjax.ops import forms

ROOMY = Geometry(12, 2, 4, level_bits=8)  # the smallest rows that hold a block of cells


def forming():
    """(circuit, a run of its first five steps)."""
    circuit = moving.moving(frozen=True)
    with mock.patch.object(forms, "FEWEST", 0):
        return circuit, zkjax.train(circuit, *moving.start(frozen=True), steps=5)
