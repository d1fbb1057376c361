"""Whole proofs in a fraction of a second: coarse formats, small tables, the small geometry."""

from functools import cache
from typing import NamedTuple

import optax
from harness import data_for, make_run, mlp_loss, mlp_params, prove_small

import zkjax

TINY = zkjax.Precision(activation_scale=4, activation_bits=7, gradient_scale=5, gradient_bits=8, data_bits=(7, 7), table_bits=9)
DIMS = (3, 4, 2)


def tiny_run(dims=DIMS, *, batch=3, steps=2, bias=True, rate=1 / 32, seed=0, samples=12, shard_size=None, **options):
    """(circuit, run): as ``harness.mlp_run``, in coarse formats; a new chain at every call."""
    params, data = mlp_params(dims, seed, bias), data_for(dims, samples, seed)
    settings = {"precision": TINY, "optimizer": optax.sgd(rate)} | options
    return make_run(mlp_loss, params, data, batch=batch, steps=steps, shard_size=shard_size, **settings)


def next_run(circuit, run, steps=2):
    """The run that goes on where ``run`` ends."""
    return zkjax.train(circuit, run, None, steps=steps)


class Chain(NamedTuple):
    """A circuit, consecutive runs of it and their proofs."""

    circuit: zkjax.Circuit
    runs: tuple
    proofs: tuple


@cache
def chain(length=3, seed=0, **options) -> Chain:
    """A proven chain on a dataset of three shards; the same object at every call. The losses of its first run are revealed."""
    circuit, run = tiny_run(seed=seed, shard_size=5, **options)
    runs = [run]
    while len(runs) < length:
        runs.append(next_run(circuit, runs[-1]))
    proofs = [prove_small(circuit, r, reveal=("loss",) if r is run else ()) for r in runs]
    return Chain(circuit, tuple(runs), tuple(proofs))
