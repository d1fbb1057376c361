"""Steps of exact training: the parameters go from step to step as integers, by NumPy or compiled by XLA."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import exact
from ..algebra.functions import LARGEST
from ..circuit.bounds import Bounds
from ..circuit.circuit import Circuit
from ..errors import PrecisionError
from ..kernels import integers
from ..kernels.threads import scope
from ..ops.products import Gate
from .dataset import Dataset
from .states import Moving

UNCOMPILED = 2**25  # work of a run, tenths of a second, for which nothing is compiled: that takes longer


@dataclass(frozen=True, eq=False)
class Outcome:
    """What steps lead to.

    final: the last parameters. losses: for each step the integers of the summands of the loss. extremes: int64 (steps, nodes with
    a range, 2), least and largest value before a range is enforced. rounded: sums of what rounding did to each node that rounds.
    kept: the tensors that a proof needs, all steps in front.
    """

    final: tuple[np.ndarray, ...] = field(repr=False)
    losses: tuple[tuple[int, ...], ...] = field(repr=False)
    extremes: np.ndarray = field(repr=False)
    rounded: np.ndarray = field(repr=False)
    kept: dict[Any, np.ndarray] = field(repr=False)


def run_steps(circuit: Circuit, bounds: Bounds, initial, data: Dataset, indices, first_step: int, keep: bool, done, look=None) -> Outcome:
    """Run the steps of these batches from ``initial``; keep: also the tensors that a proof needs; done(n) after the nth step.

    look: if given, ``look(step, parameters, samples)`` before each step: all parameters as float64, and which samples it reads.
    """
    xp = np if len(indices) * step_work(circuit) <= UNCOMPILED else jnp
    step = integers.training_step(circuit, exact.plan(circuit, bounds.nodes), keep, xp)
    types = [np.float64 if bound <= 2**exact.MANTISSA else np.int64 for bound in bounds.final]
    losses, extremes, sums, columns = [], [], [], {}  # of each step; columns: the kept tensors of all of them
    with scope(), np.errstate(all="ignore"):  # what leaves its range may wrap, and is refused below
        parameters = tuple(xp.asarray(x.astype(kind)) for x, kind in zip(initial, types, strict=True))
        moving = Moving(circuit, initial, first_step, len(indices), xp)
        arrays, keys = [xp.asarray(x) for x in data.arrays], circuit.keys(first_step, len(indices))
        for t, batch in enumerate(indices):
            parameters = tuple(moving.values(s) if s in moving.held else x for s, x in enumerate(parameters))
            if look is not None:
                look(first_step + t, _as_numbers(circuit, parameters, moving.held), batch)
            arguments = arrays, batch, _rates(circuit, first_step + t), [x[t] for x in keys]
            parameters, loss, extreme, rounded, kept, fed = step(parameters, moving.bases(), *arguments)
            moving.feed(fed)
            losses.append(loss)
            extremes.append(extreme)
            sums.append(rounded)
            for key, array in kept.items():
                if key not in columns:  # filled step by step: no second copy of all steps
                    columns[key] = np.empty((len(indices), *array.shape), dtype=array.dtype)
                columns[key][t] = array
            jax.block_until_ready(extreme)  # a step is done when it is done, and an interrupt waits for one step
            done(t + 1)
        final = tuple(np.asarray(moving.held.get(s, x)).astype(np.int64) for s, x in enumerate(parameters))
        if keep:
            columns |= moving.kept()
        stacked = np.stack([np.asarray(x) for x in extremes])
        integers_of_losses = tuple(tuple(int(v) for v in np.asarray(x)) for x in losses)
        summed = np.sum([np.asarray(x) for x in sums], axis=0)
    return Outcome(final, integers_of_losses, stacked, summed, columns)


def _as_numbers(circuit: Circuit, parameters, held) -> list[np.ndarray]:
    """What integers of states mean; held: those that are rounded in periods, and finer within one."""
    fine = (circuit.parameters[p].recurrence.inner if p in held else 0 for p in range(len(parameters)))
    return [np.asarray(x, np.float64) * float(circuit.unit(p)) * 2.0**-bits for p, (x, bits) in enumerate(zip(parameters, fine))]


def step_work(circuit: Circuit) -> int:
    """A step by NumPy, in about the time of one entry of an array: entries, products in matrices, and calls."""
    entries = products = 0
    for i, node in enumerate(circuit.nodes):
        entries += math.prod(node.shape)
        products += math.prod(node.shape) * (node.operation.summed(circuit.shapes(i)) or 0)
    return entries + products // 8 + 2**12 * len(circuit.nodes)


def kept_bytes(circuit: Circuit, steps: int) -> int:
    """Memory that keeping a run's tensors takes, about."""
    zero, leaves = np.zeros((), np.int64), circuit.leaves()
    entry = ((node, kind) for node in circuit.nodes for _, kind in node.operation.keep([zero] * len(node.inputs), zero, leaves).values())
    return steps * sum(math.prod(node.shape) * np.dtype(kind).itemsize for node, kind in entry)


def _rates(circuit: Circuit, step: int) -> np.ndarray:
    return np.array([*(u.rate(step) for p in circuit.parameters for u in p.updates), *circuit.paces(step)], dtype=np.int64)


def check_quotients(circuit: Circuit, extremes: np.ndarray, first_step: int):
    """extremes: int64 (steps, nodes with a range, 2). The earliest violation is the cause of later ones."""
    if not circuit.limited:
        return
    lows, highs = np.array([circuit.nodes[i].operation.limits() for i in circuit.limited]).T
    outside = (extremes[:, :, 0] < lows) | (extremes[:, :, 1] >= highs)
    if not outside.any():
        return
    t, column = (int(i) for i in np.argwhere(outside)[0])
    i, bound = circuit.limited[column], int(highs[column])
    low, high = (int(v) for v in extremes[t, column])
    value, node = (high, circuit.nodes[i]) if high >= bound else (low, circuit.nodes[i])
    masked = any(i in circuit.nodes[j].inputs[1:] and circuit.nodes[j].inputs[0] not in circuit.riders(i) for j in circuit.of(Gate.name))
    hint = " (the range also holds where the ReLU's mask is 0 and the value is then discarded)" if masked else ""
    where = f"step {first_step + t}: {circuit.describe(i)} {node.operation.outside(value, node.scale)}"
    if value == LARGEST:
        raise PrecisionError(f"{where}; give it another number, such as an index within its axis, or a smaller scale (Precision.tensors)")
    raise PrecisionError(
        f"{where}{hint}; trace with more than "
        f"{(bound - 1).bit_length()} bits or a smaller scale for it (in Precision.tensors, or Precision.activation_bits and "
        "gradient_bits for all), or train with a smaller learning rate"
    )
