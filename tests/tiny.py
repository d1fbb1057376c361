"""Whole proofs in a fraction of a second: coarse formats, small tables, the small geometry; and their messages by name."""

from functools import cache
from typing import NamedTuple

import numpy as np
import optax
from harness import data_for, make_run, mlp_loss, mlp_params, prove_small, verify_small

import zkjax
import zkjax.verifier
from zkjax.transcript import Reader

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


class Message(NamedTuple):
    """One message of a proof's body."""

    label: str
    offset: int
    size: int

    @property
    def is_digests(self) -> bool:
        """Bytes; all other messages are field elements of 8 bytes each."""
        return self.label in ("trace root", "level root", "salts", "siblings")

    def cut(self, body: bytes) -> bytes:
        return body[self.offset : self.offset + self.size]

    def replaced(self, body: bytes, content: bytes) -> bytes:
        return body[: self.offset] + content + body[self.offset + self.size :]


def messages(circuit, proof) -> list[Message]:
    """The messages of a valid proof, in order, as the verifier reads them."""
    log = []

    class Logging(Reader):
        def _take(self, label, size):
            log.append(Message(label, self._at, size))
            return super()._take(label, size)

    original, zkjax.verifier.Reader = zkjax.verifier.Reader, Logging
    try:
        verify_small(circuit, proof, assume_bound=True)
    finally:
        zkjax.verifier.Reader = original
    assert sum(m.size for m in log) == len(proof.body)
    return log


def words(content: bytes) -> list[int]:
    """The 64-bit words of some messages."""
    return np.frombuffer(content, dtype="<u8").tolist()
