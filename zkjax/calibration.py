"""Calibration: how fine the formats have to be, found by training some steps in floating point and in integers, side by side.

Formats cost twice: more bits are more lookups, and bounds come closer to 2^63. Too few round the training away. Candidates
have one and the same range, that of the values which the float training reaches, and get finer bit by bit; the first whose
integers follow the float training closely enough is proposed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from .circuit.circuit import Circuit
from .display import Sheet, Shown, Table
from .errors import DataError, PrecisionError
from .protocol.schedule import batch_indices
from .tracing.arguments import as_array, whole, without_auxiliary
from .tracing.formats import ACTIVATION_SCALE, Formats, Magnitudes, default_formats, largest_values
from .tracing.precision import Precision
from .tracing.program import fit
from .tracing.source import Source, read
from .training.dataset import Dataset
from .training.train import train

COARSEST, FINEST = 5, 14  # bits after the point of activations that are tried


@dataclass(frozen=True)
class Trial:
    """One candidate. precision: all formats, explicit; cost: cells, lookups and table entries of a chunk.

    distance:      of the trained weights from those of the float training, over how far that one moved them.
    loss_distance: the largest difference of a step's loss from the float training's.
    problem:       why it cannot be used, or "".
    """

    precision: Precision
    cost: int = 0
    distance: float = float("inf")
    loss_distance: float = float("inf")
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Calibration(Shown):
    """What ``calibrate`` found. It follows from the data: what of it may be published is the trainer's to decide.

    precision: proposed, every format explicit: with it, ``zkjax.trace`` needs shapes only.
    circuit:   traced in it. trials: all candidates that were tried, the last one is proposed if it is within tolerance.
    within:    whether it is; else the closest of the candidates is proposed.
    largest:   for each rescale of the circuit the largest value that occurred in the float training.
    """

    precision: Precision
    circuit: Circuit
    trials: tuple[Trial, ...]
    within: bool
    largest: dict[int, float]

    def __repr__(self) -> str:
        return f"Calibration({self.precision!r}, within={self.within})"

    def sheet(self) -> Sheet:
        """The trials, and how much room the values have in the proposed formats."""
        trials = []
        for x in self.trials:
            p, chosen = x.precision, "proposed" if x.precision == self.precision else x.problem
            formats = (f"{p.activation_scale} of {p.activation_bits}", f"{p.gradient_scale} of {p.gradient_bits}", str(p.table_bits))
            trials.append((*formats, f"{x.cost:,}", f"{100 * x.distance:.2f} %", f"{x.loss_distance:.2g}", chosen))
        heading = ("activation bits after the point", "gradient", "table", "cost", "distance of weights", "of losses", "")
        values = []
        for i, largest in self.largest.items():
            node = self.circuit.nodes[i]
            bound = 2.0 ** (node.operation.bits - node.scale)
            room = f"{np.log2(bound / largest):.1f} bits" if largest else "all"
            values.append((node.label or f"operation {i}", f"{largest:.3g}", f"{bound:.3g}", room))
        return Sheet(
            f"Calibration: {self.precision}",
            (
                "within the tolerance" if self.within else "NO CANDIDATE IS WITHIN THE TOLERANCE; this one comes closest",
                Table(tuple(trials), heading, left=(6,), title="candidates against float training"),
                Table(tuple(values), ("rescaled tensor", "largest", "range", "room"), left=(0,), title="values and ranges"),
            ),
        )


def calibrate(
    loss: Callable[..., Any],
    optimizer: Any,
    params: Any,
    data: Sequence[Any],
    *,
    batch_size: int,
    has_aux: bool = False,
    steps: int = 8,
    chunk: int = 16,
    seed: int = 0,
    tolerance: float = 0.05,
    precision: Precision | None = None,
) -> Calibration:
    """Propose a Precision: train ``steps`` steps in float32 and in integers of several formats, and compare.

    loss, optimizer, params, has_aux: as for ``zkjax.trace``. data: tuple of arrays, samples first, as for ``zkjax.train``.
    batch_size, seed:        of the public schedule, whose batches both trainings read.
    chunk:                   steps of a proof, in which bounds have to hold.
    tolerance:               proposed is the coarsest candidate whose weights are that close to the float training's, as a
                             fraction of the distance that it moved them. Rates are rounded within half of it.
    precision:               formats that are given here (not None) are kept; ``activation_scale`` is what is searched.

    Cost: a compilation and a training of ``steps`` steps for each candidate.
    Raises: DataError, UnsupportedOperationError as ``trace``, or DataError - the float training diverges; PrecisionError - no
    candidate can be traced and trained.
    """
    loss = without_auxiliary(loss) if has_aux else loss
    steps, chunk, batch_size = (whole(*x) for x in (("steps", steps), ("chunk", chunk), ("batch_size", batch_size)))
    seed = whole("seed", seed, 0)
    if not isinstance(data, (tuple, list)) or not data:
        raise DataError(f"data is {type(data).__name__}; give a tuple of arrays, samples first")
    data = tuple(as_array(x, f"data[{i}]") for i, x in enumerate(data))
    if any(x.shape[:1] != data[0].shape[:1] or not x.shape for x in data):
        raise DataError(f"data has arrays of shapes {[x.shape for x in data]}; the first axis of each is that of the samples")
    indices = batch_indices(seed, len(data[0]), None, batch_size, 0, steps)
    source = read(loss, optimizer, params, tuple(x[:batch_size] for x in data), max(steps, chunk))  # as far as a schedule is looked at
    floating = _float_training(source, data, indices)
    samples = [(states, tuple(x[rows] for x in data)) for states, rows in zip(floating.states, indices)]
    base = replace(precision or Precision())
    base = replace(base, rate_tolerance=min(base.rate_tolerance, tolerance / 2))
    trials, best, closest, magnitudes = [], None, None, Magnitudes(samples)
    for scale in range(COARSEST, FINEST + 1):
        trial, circuit = _trial(source, base, scale, params, data, magnitudes, floating, seed, steps, chunk)
        trials.append(trial)
        if circuit is not None and (closest is None or trial.distance < closest.distance):
            closest, best = trial, circuit
        if trial.distance <= tolerance:
            break
    if closest is None or best is None:
        raise PrecisionError(f"none of the formats that were tried can be used; the last one: {trials[-1].problem}")
    return Calibration(
        closest.precision, best, tuple(trials), closest.distance <= tolerance, _in_values(best, largest_values(best, samples, best.rounded))
    )


@dataclass(frozen=True, eq=False)
class _Floating:
    """A float training: the circuit's states before each step and after the last one, lists of arrays; the losses."""

    states: list[list[np.ndarray]]
    losses: np.ndarray


def _float_training(source: Source, data, indices) -> _Floating:
    """The same steps as the user would train them."""
    step, state = jax.jit(source.step), source.state()

    def secret() -> list[np.ndarray]:
        leaves = jax.tree.leaves(state)
        return [np.asarray(leaves[x.index]) for x in source.program.states]

    states, losses = [secret()], []
    for t, rows in enumerate(indices):
        state, outputs = step(state, *(x[rows] for x in data), *source.keys(t))
        states.append(secret())
        losses.append(float(outputs["loss"]))
        if not all(np.isfinite(x).all() for x in states[-1]):
            raise DataError(f"the float training diverges at step {len(losses) - 1}; use a smaller learning rate, or scale the data down")
    return _Floating(states, np.array(losses))


def _trial(source: Source, base: Precision, scale: int, params, data, magnitudes, floating: _Floating, seed, steps, chunk):
    """(Trial, circuit or None): the formats with ``scale`` bits after the point of activations."""
    precision = replace(base, activation_scale=scale)
    finer = scale - ACTIVATION_SCALE  # gradients keep pace
    try:
        formats = default_formats(source.program, data, precision, chunk)
        bits = formats.gradient_bits + (finer if base.gradient_bits is None else 0)
        gradient_scale = formats.gradient_scale + (bits - formats.gradient_bits if base.gradient_scale is None else 0)
        formats = replace(formats, gradient_bits=bits, gradient_scale=max(0, gradient_scale))
        circuit, formats = fit(source, formats, precision, chunk, magnitudes)
        circuit.bounds(source.initial_bounds(circuit), chunk)
        precision = _explicit(formats, circuit, base)
        run = train(circuit, params, Dataset.of(circuit, data), steps=steps, seed=seed, progress=None)
    except PrecisionError as error:
        return Trial(precision, problem=str(error)), None
    own = [p for p, state in enumerate(source.program.states) if state.start is None]
    first, last = ([floating.states[at][p].astype(float) for p in own] for at in (0, -1))
    moved = _size([b - a for a, b in zip(first, last, strict=True)])
    apart = _size([b - np.asarray(a, float) for a, b in zip(jax.tree.leaves(run.params), last, strict=True)])
    distance = float(apart / moved) if moved else float(apart > 0)
    loss_distance = float(np.abs(run.float_losses - floating.losses).max())
    return Trial(precision, circuit.counts(chunk).cost, distance, loss_distance), circuit


def _size(arrays) -> float:
    return float(np.sqrt(sum(float((x**2).sum()) for x in arrays)))


def _explicit(formats: Formats, circuit: Circuit, base: Precision) -> Precision:
    """Formats as a Precision that leaves nothing open."""
    return replace(
        base,
        activation_scale=formats.activation_scale,
        activation_bits=formats.activation_bits,
        gradient_scale=formats.gradient_scale,
        gradient_bits=formats.gradient_bits,
        data_bits=formats.data_bits,
        table_bits=circuit.table_bits,
        states=formats.states,
        period=formats.period,
    )


def _in_values(circuit: Circuit, largest: dict[int, float]) -> dict[int, float]:
    return {i: x * 2.0 ** -circuit.nodes[i].scale for i, x in largest.items()}
