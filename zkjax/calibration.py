"""Calibration: how fine the formats have to be, found by training some steps in floating point and in integers, side by side.

Formats cost twice: more bits are more lookups, and bounds come closer to 2^63, which ends a chain. Too few round the training away.
Candidates have ranges that hold the values which the float training reaches, tensor by tensor, and get finer bit by bit; the first
whose integers follow the float training closely enough is proposed. Its scales of single tensors are as fine as the chain's length allows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Any

import numpy as np

from .circuit.circuit import Circuit
from .circuit.rounding import Roundings
from .display import Sheet, Shown, Table
from .errors import DataError, PrecisionError
from .protocol.schedule import batch_indices
from .tracing.arguments import as_array, whole, without_auxiliary
from .tracing.fitting import lasting
from .tracing.formats import ACTIVATION_SCALE, FINEST, MAX_BITS, Magnitudes, default_formats, explicit
from .tracing.precision import Precision
from .tracing.program import LASTING
from .tracing.source import Source, read, read_own
from .training.dataset import Dataset
from .training.train import train

COARSEST, FINEST_SCALE = 5, 14  # bits after the point of activations that are tried
AHEAD, LOOKED_AT = 16, 3  # times as many steps as are tried, at most, in floating point alone; and those of them whose values formats hold


@dataclass(frozen=True)
class Trial:
    """One candidate. precision: all formats, explicit; cost: cells, lookups and table entries of a chunk.

    distance:      of the trained weights from those of the float training, over how far that one moved them.
    loss_distance: the largest difference of a step's loss from the float training's; 0 where no loss is an output.
    chain:         how many steps a chain can have from the first weights; None: any number.
    limit:         what ends it then, or "".
    lasts:         whether that is as many as were asked for.
    problem:       why it cannot be used, or "".
    """

    precision: Precision
    cost: int = 0
    distance: float = float("inf")
    loss_distance: float = float("inf")
    chain: int | None = 0
    limit: str = ""
    lasts: bool = False
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Calibration(Shown):
    """What ``calibrate`` found. It follows from the data: what of it may be published is the trainer's to decide.

    precision: proposed, every format explicit: with it, ``zkjax.trace`` needs shapes only.
    circuit:   traced in it. trials: all candidates that were tried, the last one is proposed if it is within tolerance.
    within:    whether it is; else the closest of those candidates is proposed that have half the chain, or of all.
    roundings: of parameters, data and rescaled tensors in the training that was tried: range, margin, error, cost.
    """

    precision: Precision
    circuit: Circuit
    trials: tuple[Trial, ...]
    within: bool
    roundings: Roundings

    def __repr__(self) -> str:
        return f"Calibration({self.precision!r}, within={self.within})"

    def sheet(self) -> Sheet:
        """The trials, and how much room the values have in the proposed formats."""
        trials = []
        for x in self.trials:
            p, chosen = x.precision, "proposed" if x.precision == self.precision else x.problem
            formats = (f"{p.activation_scale} of {p.activation_bits}", f"{p.gradient_scale} of {p.gradient_bits}", str(p.table_bits))
            chain = "any number" if x.chain is None else f"{x.chain:,}"
            trials.append((*formats, f"{x.cost:,}", chain, f"{100 * x.distance:.2f} %", f"{x.loss_distance:.2g}", chosen))
        columns = ("activation bits after the point", "gradient", "table", "cost", "steps of a chain", "distance of weights")
        heading = (*columns, "of losses", "")
        proposed = next(x for x in self.trials if x.precision == self.precision)
        shorter = "" if proposed.lasts else "; ITS CHAINS ARE SHORTER THAN WHAT WAS ASKED FOR"
        found = "within the tolerance" if self.within else "NO CANDIDATE IS WITHIN THE TOLERANCE; this one comes closest"
        ends = [f"with {x.precision.activation_scale}, {x.limit}" for x in self.trials if x.limit]
        return Sheet(
            f"Calibration: activations with {proposed.precision.activation_scale} bits after the point",
            (
                found + shorter,
                Table(tuple(trials), heading, left=(7,), title="candidates against float training"),
                "\n".join(["what ends a chain, by the bits of activations after the point:", *ends]) if ends else "",
                self.roundings.table(),
            ),
        )


def calibrate(
    loss: Callable[..., Any],
    optimizer: Any,
    params: Any,
    data: Sequence[Any],
    *,
    batch_size: int | None = None,
    has_aux: bool = False,
    state: Any = None,
    key: Any = None,
    full_batch: bool = False,
    steps: int = 8,
    chunk: int = 16,
    chain: int | None = None,
    seed: int = 0,
    tolerance: float = 0.05,
    precision: Precision | None = None,
) -> Calibration:
    """Propose a Precision: train ``steps`` steps in float32 and in integers of several formats, and compare.

    loss, optimizer, params, has_aux, state, key, full_batch: as for ``zkjax.trace``. data: tuple of arrays, as for ``zkjax.train``; () for
                             a program without data.
    batch_size, seed:        of the public schedule, whose batches both trainings read; no size with ``full_batch``, or without data.
    chunk:                   steps of a proof, in which bounds have to hold.
    chain:                   steps of a chain, in which they are to hold: scales that single tensors have beyond the default give way to
                             it. What depends on the step is tabulated for so many. Default: 16 chunks.
    tolerance:               proposed is the coarsest candidate whose weights are that close to the float training's, as a
                             fraction of the distance that it moved them: finer ones cost more, and their chains are shorter. Rates are
                             rounded within half of it.
    precision:               formats that are given here (not None) are kept; ``activation_scale`` is what is searched.

    Ranges hold the values of these steps, and where ``chain`` says that more will follow, of some steps of a longer float training as well.

    Cost: a compilation and a training of ``steps`` steps for each candidate.
    Raises: DataError, UnsupportedOperationError as ``trace``, or DataError - the float training diverges; PrecisionError - no
    candidate can be traced and trained.
    """
    scalar, auxiliary = (without_auxiliary(loss, state is not None), loss) if has_aux else (loss, None)

    def source(batch, tabulated: int) -> Source:
        return read(scalar, optimizer, params, batch, tabulated, state, key, full_batch, auxiliary)

    return _calibrated(source, data, batch_size, full_batch, steps, chunk, chain, seed, tolerance, precision)


def calibrate_step(
    train_step: Callable[..., Any],
    state: Any,
    data: Sequence[Any],
    *,
    batch_size: int | None = None,
    key: Any = None,
    full_batch: bool = False,
    outputs: Sequence[str] = (),
    steps: int = 8,
    chunk: int = 16,
    chain: int | None = None,
    seed: int = 0,
    tolerance: float = 0.05,
    precision: Precision | None = None,
) -> Calibration:
    """The same for a training step of the user's own.

    train_step, state, outputs, key, full_batch: as for ``zkjax.trace_step``; else as ``calibrate``.
    """

    def source(batch, tabulated: int) -> Source:
        return read_own(train_step, state, batch, tuple(dict.fromkeys(outputs)), tabulated, key, full_batch)

    return _calibrated(source, data, batch_size, full_batch, steps, chunk, chain, seed, tolerance, precision)


def _calibrated(read_source, data, batch_size, full, steps, chunk, chain, seed, tolerance, precision) -> Calibration:
    """read_source: makes the source from a batch, and the number of steps as far as which what depends on the step is looked at."""
    steps, chunk = whole("steps", steps), whole("chunk", chunk)
    seed, chain = whole("seed", seed, 0), None if chain is None else whole("chain", chain)
    if not isinstance(data, (tuple, list)):
        raise DataError(f"data is {type(data).__name__}; give a tuple of arrays, samples first")
    data = tuple(as_array(x, f"data[{i}]") for i, x in enumerate(data))
    tabulated, ahead = max(steps, chunk, chain or 0), max(steps, min(chain or 0, AHEAD * steps))
    if full or not data:
        source, rows = read_source(data, tabulated), None
        data = source.batch if data else ()
    else:
        if any(x.shape[:1] != data[0].shape[:1] or not x.shape for x in data):
            raise DataError(f"data has arrays of shapes {[x.shape for x in data]}; the first axis of each is that of the samples")
        batch_size = whole("batch_size", batch_size, 1, "give the number of samples of a step")
        source = read_source(tuple(x[:batch_size] for x in data), tabulated)
        rows = batch_indices(seed, len(data[0]), None, batch_size, 0, ahead)
    batches = (source.batch if rows is None else tuple(x[rows[t]] for x in data) for t in range(ahead))
    floating = _float_training(source, batches, steps, ahead)
    base = replace(precision or Precision())
    base = replace(base, rate_tolerance=min(base.rate_tolerance, tolerance / 2))
    task = _Task(source, data, floating, Magnitudes(floating.samples), steps, chunk, chain, seed)
    trials, best, closest = [], None, None
    for scale in range(COARSEST, FINEST_SCALE + 1):
        trial, found = task.tried(base, scale)
        trials.append(trial)
        if found is not None and (closest is None or task.worse(closest) > task.worse(trial)):
            closest, best = trial, found
        if trial.distance <= tolerance:
            break
    if closest is None or best is None:
        raise PrecisionError(f"none of the formats that were tried can be used; the last one: {trials[-1].problem}")
    return Calibration(closest.precision, best[0], tuple(trials), closest.distance <= tolerance, best[1])


@dataclass(frozen=True, eq=False)
class _Floating:
    """A float training. last: all states after the steps that are tried; losses: of these steps, where they are an output; samples:
    (step, states before it, batch), of these steps and of some later ones."""

    last: list[np.ndarray]
    losses: np.ndarray | None
    samples: list[tuple[int, list[np.ndarray], tuple]]


def _float_training(source: Source, batches: Iterator[tuple], steps: int, ahead: int) -> _Floating:
    """The steps that are tried as the user would train them, and later ones as long as they are finite, up to ``ahead`` in all."""
    later = {steps + (ahead - steps) * k // LOOKED_AT - 1 for k in range(1, LOOKED_AT + 1)} if ahead > steps else set()
    states, losses, samples, last = source.first(), [], [], None
    batches, given = tee(batches)
    for t, (batch, (after, outputs)) in enumerate(zip(batches, source.trained(given), strict=True)):
        if not all(np.isfinite(x).all() for x in after):
            if t < steps:
                raise DataError(f"the float training diverges at step {t}; use a smaller learning rate, or scale the data down")
            break
        if t < steps or t in later:
            samples.append((t, states, batch))
        if t < steps and "loss" in source.program.outputs:
            losses.append(float(outputs["loss"]))
        states, last = after, after if t < steps else last
    return _Floating(last, np.array(losses) if losses else None, samples)


@dataclass(frozen=True, eq=False)
class _Task:
    """What all candidates have in common. magnitudes: on the states and batches of the float training."""

    source: Source
    data: tuple
    floating: _Floating
    magnitudes: Magnitudes
    steps: int
    chunk: int
    chain: int | None
    seed: int

    def tried(self, base: Precision, scale: int) -> tuple[Trial, tuple[Circuit, Roundings] | None]:
        """The formats with ``scale`` bits after the point of activations; and the circuit, with what rounding did in its training."""
        source, precision = self.source, replace(base, activation_scale=scale)
        finer = scale - ACTIVATION_SCALE  # gradients keep pace
        try:
            formats = default_formats(source.program, self.data or source.batch, precision, self.chunk)
            bits = min(MAX_BITS, formats.gradient_bits + finer) if base.gradient_bits is None else formats.gradient_bits
            gradient_scale = formats.gradient_scale + (bits - formats.gradient_bits if base.gradient_scale is None else 0)
            formats = replace(formats, gradient_bits=bits, gradient_scale=max(0, gradient_scale))
            wanted = self.chain or LASTING * self.chunk
            circuit, formats, lasts = lasting(source, formats, FINEST, precision, self.chunk, wanted, self.magnitudes)
            precision = explicit(formats, circuit, base)
            circuit = replace(circuit, precision=precision)
            first = [x for x, state in zip(source.first(), source.program.states, strict=True) if state.start is None]
            run = train(circuit, first, Dataset.of(circuit, self.data), steps=self.steps, seed=self.seed, progress=None)
        except PrecisionError as error:
            return Trial(precision, problem=str(error)), None
        cost, longest = circuit.counts(self.chunk).cost, circuit.longest_chain(source.initial_bounds(circuit))
        trial = Trial(precision, cost, *self._distances(circuit, run), longest.steps, longest.limit, lasts or self.chain is None)
        return trial, (circuit, run.roundings)

    def worse(self, trial: Trial) -> tuple[bool, float]:
        """By what candidates that are not close enough are compared: one with half the chain that is asked for goes before others."""
        return self.chain is not None and trial.chain is not None and 2 * trial.chain < self.chain, trial.distance

    def _distances(self, circuit: Circuit, run) -> tuple[float, float]:
        """Of the trained weights from the float training's, over how far it moved them; and the largest one of a step's loss."""
        own = [p for p in range(len(circuit.parameters)) if p not in circuit.given]
        _, begun, _ = self.floating.samples[0]
        first, last = ([states[p].astype(float) for p in own] for states in (begun, self.floating.last))
        moved = _size([b - a for a, b in zip(first, last, strict=True)])
        apart = _size([run.final[p] * float(circuit.unit(p)) - b for p, b in zip(own, last, strict=True)])
        losses = self.floating.losses
        off = 0.0 if losses is None else float(np.abs(run.float_losses - losses).max())
        return float(apart / moved) if moved else float(apart > 0), off


def _size(arrays) -> float:
    return float(np.sqrt(sum(float((x**2).sum()) for x in arrays)))
