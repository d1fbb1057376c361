"""Small runs, and a prover who lies: alter anything it holds, and see which constraints its committed tensors break.

``Liar`` runs the argument in the prover's role with its self-checks off, then evaluates every constraint on what was
committed, as a verifier would who saw everything. An honest run breaks none. A real verifier checks a random combination
of the same constraints, behind pads; ``tests/test_proofs.py`` does that for whole proofs.
"""

import random
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.low_rank import factorised
from zkjax.commitment.geometry import Geometry
from zkjax.kernels.sites import low_rank
from zkjax.kernels.threads import scope
from zkjax.protocol.argument import argument
from zkjax.protocol.forms import Forms
from zkjax.protocol.hidden import Functional, Hidden, Pad, make_masks
from zkjax.protocol.transcript import Transcript, Writer
from zkjax.prover.forms import cells_of
from zkjax.prover.prove import make_plan
from zkjax.prover.witness import Witness, vectors_of
from zkjax.training import run as runs
from zkjax.verifier import dry_run

SMALL = Geometry(10, 2, 4, level_bits=20)  # far below the target, for speed
BITS = 15.0


def mlp_params(dims, seed=0, bias=True):
    rng = np.random.default_rng(seed)
    layers = []
    for a, b in zip(dims, dims[1:]):
        layer = {"w": (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32)}
        layers.append(layer | ({"b": (rng.normal(size=b) * 0.1).astype(np.float32)} if bias else {}))
    return layers


def mlp_loss(params, x, y):
    for i, layer in enumerate(params):
        x = x @ layer["w"] + layer.get("b", 0.0)
        x = jax.nn.relu(x) if i < len(params) - 1 else x
    return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))


def data_for(dims, samples=12, seed=0):
    rng = np.random.default_rng(seed + 100)
    return rng.normal(size=(samples, dims[0])).astype(np.float32), rng.normal(size=(samples, dims[-1])).astype(np.float32)


def mlp_run(dims=(5, 6, 4, 3), *, batch=3, steps=2, bias=True, rate=1 / 32, seed=0, precision=None, samples=12):
    """(circuit, run) of a small net."""
    params, data = mlp_params(dims, seed, bias), data_for(dims, samples, seed)
    return make_run(mlp_loss, params, data, batch=batch, steps=steps, optimizer=optax.sgd(rate), precision=precision)


def make_run(loss, params, data, *, batch=3, steps=2, optimizer=None, precision=None, shard_size=None):
    circuit = zkjax.trace(
        loss, optimizer or optax.sgd(1 / 32), params, batch=tuple(x[:batch] for x in data), precision=precision, steps=steps, chunk=steps
    )
    run = zkjax.train(circuit, params, data, steps=steps, seed=1, shard_size=shard_size)
    run.chain.geometry = SMALL
    return circuit, run


def prove_small(circuit, run, **options):
    """A proof in the small geometry, which the tests verify themselves."""
    run.chain.geometry = run.chain.geometry or SMALL
    return zkjax.prove(circuit, run, progress=None, minimum_bits=BITS, **{"verify": False, **options})


def verify_small(circuit, proof, **options):
    return zkjax.verify(circuit, proof, minimum_bits=BITS, **options)


def recorded(transcript: type, draw: str, verify) -> list[list]:
    """Every message that ``verify()`` absorbs, and every draw: its label, its size in bytes, and the transcript's state after it.

    transcript: the class of a verifier's. draw: the name of its method (label, bytes) that draws.
    """
    found, originals = [], {name: getattr(transcript, name) for name in ("absorb", draw)}

    def absorb(self, label, data):
        originals["absorb"](self, label, data)
        found.append(["absorb", label, len(data), state(self)])

    def drawn(self, label, size):
        value = originals[draw](self, label, size)
        found.append(["draw", label, size, value[:32].hex()])
        return value

    def state(self) -> str:
        return (self._state if hasattr(self, "_state") else self.state).hex()

    with mock.patch.object(transcript, "absorb", absorb), mock.patch.object(transcript, draw, drawn):
        verify()
    return found


class Liar:
    """A prover of ``run`` in whose hands everything may be altered before ``broken`` is called.

    witness: tensors and values, ``witness.Witness``. final: the committed last weights. data: the committed dataset.
    """

    def __init__(self, run, revealed=None, seed=0):
        self.run, self.revealed = run, revealed
        self.plan = make_plan(run)
        computed = run.witness()
        self.values = {i: x.copy() for i, x in computed.values.items()}
        self.forms = {key: x.copy() for key, x in computed.forms.items()}
        self.states = {key: x.copy() for key, x in computed.states.items()}
        self.initial = tuple((w >> s).copy() for w, s in zip(run.initial, self.plan.shifts, strict=True))
        self.final = tuple(x.copy() for x in run.final)
        self.data = tuple(x.copy() for x in run.data.arrays)
        self.bounds = run.circuit.bounds(run.initial_bound, run.steps, run.first_step)
        self.masks = None
        self.random = random.Random(seed)
        self._witness = None

    def elements(self, count):
        return [Ext(self.random.randrange(P), self.random.randrange(P)) for _ in range(count)]

    @property
    def witness(self) -> Witness:
        """Built from what has been altered so far; may be altered itself."""
        if self._witness is None:
            computed = runs.Witness(self.values, self.forms, self.states)
            self._witness = Witness(self.plan, computed, self.initial, self.final, self.bounds, check=False)
        return self._witness

    def broken(self) -> set[str]:
        """Names of the constraints that the committed tensors break."""
        counts = dry_run(self.plan, self.revealed).counts()
        self.masks = self.masks or make_masks(counts, self.elements)
        with scope():
            transcript = Transcript(b"parameters", b"statement")
            drawn = Forms.draw(transcript) if self.plan.formed else None
            if drawn is not None and not any(key[0] == "form range" for key in self.witness.tensors):
                self.witness.show_forms(drawn)
            hidden = Hidden(Writer(transcript), self.masks, check=False)
            argument(hidden, self.plan, self.revealed, self.witness, drawn)
            values = []
            for form in hidden.tape:
                value = form.constant
                for factor, parent in form.parents:
                    value = value + values[parent.index] * factor
                if isinstance(form.leaf, Pad):
                    value = value + self.masks[form.leaf.vector][form.leaf.index]
                elif isinstance(form.leaf, Functional):
                    value = value + self._functional(form.leaf.terms)
                values.append(value)
        return {name for name, form in hidden.constraints if values[form.index] != ZERO}

    def _committed(self, key):
        if key[0] in ("initial", "frozen"):
            return field.from_int(self.initial[key[1]])
        if key[0] == "cells":
            _, name, first = key
            (count,) = (run.count for run in self.plan.formed if (run.name, run.first) == (name, first))
            return field.from_int(cells_of(self.run.circuit, name, self.initial)[first : first + count])
        if key[0] == "final":
            return field.from_int(self.final[key[1]])
        if key[0] == "data":
            size = self.plan.batches.shard_size
            return field.from_int(self.data[key[2]][key[1] * size : (key[1] + 1) * size])
        return field.from_int(np.asarray(self.witness.tensors[key]).astype(np.int64))

    def _functional(self, terms):
        total = ZERO
        for term in self.plan.scatter(list(terms)):
            tensor = self._committed(term.key)
            if not tensor.shape:
                total = total + term.scalar * int(tensor)
                continue
            weights = low_rank(*factorised(vectors_of([term]), tensor.shape))
            c0, c1 = ext.sum(ext.mul_base(weights, tensor.reshape(weights[0].shape)))
            total = total + Ext(int(c0), int(c1))
        return total
