"""Evaluate trained weights in a proof: the weights behind a training's commitment, on samples of which each is read once.

The user's metrics become a circuit (``trace_evaluation``) whose parameters are the training's, integer by integer, and stay as they are.
A run of it goes through the test set once; its proof opens the training's commitment to its last weights, on the training's counters.
"""

import inspect
import math
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..circuit.circuit import Circuit
from ..circuit.parts import PARAMETERS
from ..commitment.keys import Key
from ..errors import ConfigurationError, DataError, RunError
from ..evaluation import CONFUSION, CORRECT, GROUP, Evaluated, read_results
from ..proofs.proof import Proof
from ..prover.prove import fix_geometry, prove
from ..tracing.arguments import batch_arrays, named_leaves, whole
from ..tracing.lowering import UNMOVED
from ..tracing.precision import Precision
from ..tracing.program import trace_step
from .dataset import Dataset
from .run import End, Run
from .template import nested
from .train import run_from

USUAL = 64  # samples of a step
LOOKED_AT = 1024  # samples that default formats are chosen to hold
LARGEST = 1024  # samples of a step at most, where nobody says so


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that was proven. run: private, as of a training. proof: publish it, with the circuit. result: what it shows."""

    run: Run
    proof: Proof
    result: Evaluated

    @property
    def circuit(self) -> Circuit:
        """What a verifier needs beside the proof."""
        return self.run.circuit


@jax.tree_util.register_pytree_with_keys_class
class _Weights:
    """Arrays by path, in the training circuit's order, whatever pytree they come from."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.DictKey(path), x) for path, x in self.values.items()], tuple(self.values)

    @classmethod
    def tree_unflatten(cls, paths, leaves):
        return cls(dict(zip(paths, leaves, strict=True)))


def trace_evaluation(
    training: Circuit,
    metrics: Callable[..., dict[str, Any]],
    params: Any,
    batch: Sequence[Any],
    *,
    steps: int = 1,
    precision: Precision | None = None,
) -> Circuit:
    """Trace what an evaluation adds up over a batch, to a circuit whose parameters are those of a training, which stay as they are.

    training:  the circuit that the weights are trained in.
    metrics:   ``metrics(params, *batch) -> {name: scalar}``, sums over the batch's samples, such as the number of correct ones
               (``zkjax.classified`` makes some). All of them are revealed.
    params:    as ``Run.params``, or shapes of them.
    batch:     as for ``trace``: arrays, or shapes where ``precision`` says all formats.
    steps:     that the evaluation has; formats suit it.
    precision: as for ``trace``, but of parameters, which have the training's scales. ``Circuit.precision`` of what is returned has all.
    Raises: as ``trace``; ConfigurationError - weights that no evaluation reads.
    """
    numbers = _own(training)
    own = [training.parameters[p] for p in numbers]
    odd = [x.path for p, x in zip(numbers, own, strict=True) if training.scale(p)[0] != 1]
    if odd:
        raise ConfigurationError(f"the unit of {odd[0]} is no power of two; its weights cannot be evaluated")
    leaves, structure = jax.tree.flatten(params)
    by_path = dict(zip(named_leaves(params, "params"), leaves, strict=True))
    if {path: np.shape(x) for path, x in by_path.items()} != {x.path: x.shape for x in own}:
        raise DataError("params has not the paths and shapes of the training's parameters; give run.params")

    def measured(weights: _Weights, *samples):
        return metrics(jax.tree.unflatten(structure, [weights.values[path] for path in by_path]), *samples)

    weights = _Weights({x.path: by_path[x.path] for x in own})
    shapes = [*map(_shape, batch_arrays(batch))]
    found = jax.eval_shape(measured, jax.tree.map(_shape, weights), *shapes)
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) and x.shape == () for name, x in found.items()):
        raise DataError("metrics returns no dictionary of scalars; return {name: sum over the batch}, such as {'correct': ..}")

    def step(weights: _Weights, *samples):
        return weights, {name: jnp.asarray(x, jnp.float32) for name, x in measured(weights, *samples).items()}

    with suppress(TypeError, ValueError):  # of what has no signature arrays get numbers for names
        step.__signature__ = inspect.signature(metrics)
    scales = {x.path: training.scale(p)[1] for p, x in zip(numbers, own, strict=True)}
    formats = replace(precision or Precision(), parameters=scales)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=re.escape(UNMOVED))  # which is what an evaluation is
        return trace_step(step, weights, batch, outputs=tuple(found), precision=formats, chunk=steps)


def evaluate(
    run: Run,
    metrics: Callable[..., dict[str, Any]],
    data: Sequence[Any],
    *,
    batch: int | None = None,
    precision: Precision | None = None,
    shard_size: int | None = None,
    **options: Any,
) -> Evaluation:
    """Prove what the last weights of a run do on a test set, of which each sample is read once. Returns an Evaluation.

    run:        of a training; it is not changed. Its commitments to its last weights, and to those that it freezes, are opened once more:
                one unit of their budgets.
    metrics:    as for ``trace_evaluation``; the proof reveals their sums for each batch, and so the totals. Its params are ``run.params``,
                or nests of dicts by path, where the training commits to a model's state, too, or ``run.params`` is a whole state.
    data:       the test set: a tuple of arrays, samples first, as ``metrics`` takes them. It gets a commitment of its own.
    batch:      samples of a step; it divides their number. Default: a divisor near 64, or all of them.
    precision:  formats, as for ``trace``; default: chosen to hold the first samples.
    shard_size: as for ``train``.
    options:    of ``prove``: progress, minimum_bits, reuse_memory, verify, check.

    The weights stay secret, and so do samples, unless they are published: ``zkjax.disclose(evaluation.run, "dataset")`` lets anyone see
    that these are they. A verifier needs the evaluation's circuit and proof, and the training's statements (``zkjax.verify_evaluation``).
    Ties of an ``argmax`` go to the first maximum, of the logits as the circuit rounds them.
    Raises: as ``trace``, ``train`` and ``prove`` do; DataError - no usable batch; BudgetError - the openings left of the weights are for
            the chain's next proofs: ``zkjax.link(run, ["final"])`` makes new ones, or ["frozen"] of those, whose proof verifiers need too.
    """
    check_training(run)
    arrays = batch_arrays(data)
    samples = len(arrays[0]) if arrays else 0
    size = batch_of(samples, batch)
    params, first = _params(run), tuple(x[:size] for x in arrays)
    if precision is None and samples > size:
        looked = min(samples, LOOKED_AT)
        seen = trace_evaluation(run.circuit, metrics, params, tuple(x[:looked] for x in arrays), steps=-(-samples // looked))
        precision = seen.precision
        params, first = jax.tree.map(_shape, (params, first))  # these formats are all that a circuit needs
    circuit = trace_evaluation(run.circuit, metrics, params, first, steps=samples // size, precision=precision)
    evaluation = evaluation_run(run, circuit, data, shard_size)
    proof = prove(circuit, evaluation, reveal=circuit.outputs, **options)
    return Evaluation(evaluation, proof, replace(read_results(circuit, proof.statement, False), security=proof.security))


def predict(
    run: Run, model: Callable[..., Any], inputs: Sequence[Any], *, outputs: bool = False, precision: Precision | None = None, **options: Any
) -> Evaluation:
    """Prove what a run's last weights answer to each of some inputs: an evaluation in steps of one sample. Returns an Evaluation.

    model:   ``model(params, *inputs)`` of shape (batch, classes): logits, or any outputs.
    inputs:  a tuple of arrays, samples first. They get a commitment of their own, as the data of ``evaluate``.
    outputs: reveal all outputs of the model, "output 0", "output 1", ..; else "class" alone, the place of the largest, of equal ones the
             first.
    precision, options: as for ``evaluate``, whose errors hold here too.

    ``evaluation.result.of_samples("class")`` has the answers in the order of the inputs, as what ``zkjax.verify_evaluation`` returns has.
    """

    def answers(params, *samples):
        found = model(params, *samples)
        if found.ndim != 2:
            raise DataError(f"model returns an array of shape {found.shape}; return one of shape (batch, classes)")
        if outputs:
            return {f"output {j}": jnp.sum(found[:, j]) for j in range(found.shape[1])}
        return {"class": jnp.sum(jnp.argmax(found, axis=-1))}

    return evaluate(run, answers, inputs, batch=1, precision=precision, **options)


def batch_of(samples: int, batch: int | None) -> int:
    """How many samples a step reads; DataError where no number suits."""
    if batch is not None:
        if samples % whole("batch", batch):
            raise DataError(f"batch is {batch}, and {samples} samples are no multiple of it: each is to be read once; give a divisor")
        return batch
    divisors = [d for d in range(1, min(samples, LARGEST) + 1) if samples % d == 0]
    best = min(divisors, key=lambda d: abs(math.log2(d / USUAL)), default=0)
    if best < max(1, min(samples, USUAL // 8)):
        raise DataError(
            f"{samples} samples have no divisor near {USUAL}, in whose batches each could be read once; leave some out, so that their "
            f"number is a multiple of {USUAL}, or say batch="
        )
    return best


def evaluation_run(run: Run, circuit: Circuit, data: Sequence[Any], shard_size: int | None = None) -> Run:
    """The run of an evaluation's circuit on the last weights of a training's run, over one epoch of its data, in exact integers."""
    places = {p: i for i, p in enumerate(_own(run.circuit))}
    ends = (End(run, "final"), End(run, "frozen"))[: 1 + bool(run.circuit.frozen)]
    ends = tuple(end._replace(places=tuple(places[p] for p in end.numbers)) for end in ends)
    return reading(circuit, ends, data, shard_size)


def check_training(run: Any, name: str = "run") -> None:
    """RunError for what is no run of a training."""
    if not isinstance(run, Run) or run.reads:
        told = "an evaluation" if isinstance(run, Run) else f"a {type(run).__name__}"
        raise RunError(f"{name} is {told}; give a zkjax.Run of a training")


def reading(circuit: Circuit, ends: tuple[End, ...], data: Sequence[Any], shard_size: int | None = None) -> Run:
    """The run of a circuit that changes nothing on weights of one chain of trainings, over one epoch of its data."""
    for end in ends:
        end.run.check()
    last = ends[-1].run
    fix_geometry(last)
    dataset, places = Dataset.of(circuit, data), [p for end in ends for p in end.places]

    def placed(groups) -> tuple:
        """What all ends tell of their parameters, in the order of the circuit's."""
        return tuple(x for _, x in sorted(zip(places, chain(*groups), strict=True), key=itemgetter(0)))

    start = {
        "data": dataset,
        "first_step": 0,
        "seed": 0,
        "shard_size": None if shard_size is None else whole("shard_size", shard_size),
        "initial": placed(end.integers for end in ends),
        "begins": False,
        "coarse_shifts": placed(end.shifts for end in ends),
        "widths": (0,) * len(circuit.parameters),
        "initial_bound": placed(end.bound for end in ends),
        "keys": (Key.fresh(), Key.fresh()),
        "chain": last.chain.beside(),
        "template": None,
        "roundings": dataset.roundings,
        "told": False,
    }
    return replace(run_from(circuit, start, dataset.samples // circuit.batch_size, None), reads=ends)


def _own(training: Circuit) -> list[int]:
    """The numbers of a training's parameters, those that it freezes among them: all states but those that the circuit gives."""
    return sorted((*training.held[PARAMETERS], *training.frozen))


def _shape(x) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype)


def _params(run: Run) -> Any:
    """The last parameters as ``metrics`` takes them: ``Run.params``, or nests of dicts where that has more than parameters in it, or
    other paths."""
    circuit, own = run.circuit, _own(run.circuit)
    paths = {circuit.parameters[p].path for p in own}
    if run.template is not None and {*run.template.places} == paths == {*named_leaves(run.params, "params")}:
        return run.params
    return nested({circuit.parameters[p].path: (run.final[p] * float(circuit.unit(p))).astype(np.float32) for p in own})


def classified(logits, labels, groups=None, count: int = 0) -> dict[str, Any]:
    """Metrics of a classifier on a batch: how many samples are correct, and how many of each class are taken for each one.

    logits: (batch, classes). labels: integers (batch,). groups: of each sample the number of its group, 0 .. count - 1, or None. Of each
    group, how many samples it has, and how many of these are correct. Names: "correct", "confusion 3 as 5", "samples of group 1", ..
    The first of equal largest logits counts.
    """
    classes = logits.shape[-1]
    taken = jax.nn.one_hot(jnp.argmax(logits, axis=-1), classes)
    true = jax.nn.one_hot(labels, classes)
    table = true.T @ taken
    found = {"correct": jnp.sum(true * taken)}
    found |= {CONFUSION.format(i, j): table[i, j] for i in range(classes) for j in range(classes)}
    if groups is not None:
        members = jax.nn.one_hot(groups, count)
        right = members.T @ jnp.sum(true * taken, axis=-1)
        sizes = jnp.sum(members, axis=0)
        found |= {GROUP.format(g): sizes[g] for g in range(count)} | {CORRECT.format(g): right[g] for g in range(count)}
    return found
