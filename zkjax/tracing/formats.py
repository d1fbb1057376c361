"""Formats: how many bits activations, gradients, data and tables get, where the user has not said so.

Defaults follow from the loss; values seen on the given batch widen them; bounds that leave the field make them coarser;
the cheapest table width follows from them.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..errors import DataError, PrecisionError
from .expressions import Combination, Numbers
from .precision import Precision, StateFormat
from .series import values

HEADROOM = 4  # a default format is widened until it holds this many times the largest value seen
MAX_FORMAT_BITS = 15  # a default format is widened by bits up to here, then by a coarser scale
ACTIVATION_SCALE, GRADIENT_BITS = 8, 13  # by default
COARSEST_SCALE, COARSEST_GRADIENT = 4, 9  # what defaults become at the least, where bounds ask for it


@dataclass(frozen=True)
class Formats:
    """Integers of the two formats: scale and bits; data_bits of each input.

    states: of those that are multiplied, by path. rounded: weights are multiplied states where they read one, although they need not be.
    useful: bits below the change of a step that errors of coefficients are within a period.
    """

    activation_scale: int
    activation_bits: int
    gradient_scale: int
    gradient_bits: int
    data_bits: tuple[int, ...]
    rate_tolerance: Fraction
    states: Mapping[str, StateFormat] = field(default_factory=dict)
    rounded: bool = False
    useful: int = 8
    period: int = 1
    notes: tuple[str, ...] = ()

    def of(self, tagged: bool) -> tuple[int, int]:
        return (self.gradient_scale, self.gradient_bits) if tagged else (self.activation_scale, self.activation_bits)


LONGEST_PERIOD = 16  # steps after which multiplied states are rounded, where nothing is said


def default_formats(program, batch, precision: Precision, chunk: int) -> Formats:
    """The user's formats, and defaults for what is None; ``batch`` holds NumPy arrays, or shapes where the data are not known."""
    a = ACTIVATION_SCALE if precision.activation_scale is None else precision.activation_scale
    bits = a + 3 if precision.activation_bits is None else precision.activation_bits
    gradient_bits = GRADIENT_BITS if precision.gradient_bits is None else precision.gradient_bits
    gradient_scale = precision.gradient_scale
    if gradient_scale is None:
        # A range of +-4 divided by the loss's mean divisor: the constants that carry the seed into the graph.
        seeds = [abs(c) for x in program.graph.expressions if x.tagged and not any(y.tagged for y in x.inputs) for c in _seed_constants(x)]
        largest = max(seeds, default=Fraction(1)) or Fraction(1)
        gradient_scale = max(0, gradient_bits - math.ceil(math.log2(4 * largest)))
    data_bits = precision.data_bits
    if data_bits is None:
        data_bits = tuple(_data_bits(x, a) if isinstance(x, np.ndarray) else bits for x in batch)
    if len(data_bits) != len(batch):
        raise DataError(f"Precision.data_bits has {len(data_bits)} entries for {len(batch)} arrays in the batch")
    period = min(chunk, LONGEST_PERIOD) if precision.period is None else precision.period
    return Formats(a, bits, gradient_scale, gradient_bits, tuple(data_bits), Fraction(precision.rate_tolerance), period=period)


def coarser(formats: Formats, precision: Precision) -> Formats | None:
    """One bit less after the point of gradients or of activations, in turn, at the same range; None where nothing is left to choose."""
    gradients = (
        precision.gradient_scale is precision.gradient_bits is None
        and formats.gradient_bits > COARSEST_GRADIENT
        and formats.gradient_scale > 0
    )
    activations = precision.activation_scale is None and formats.activation_scale > COARSEST_SCALE
    if gradients and (not activations or GRADIENT_BITS - formats.gradient_bits <= ACTIVATION_SCALE - formats.activation_scale):
        return replace(formats, gradient_scale=formats.gradient_scale - 1, gradient_bits=formats.gradient_bits - 1)
    if not activations:
        return None
    return replace(
        formats,
        activation_scale=formats.activation_scale - 1,
        activation_bits=formats.activation_bits - (precision.activation_bits is None),
        data_bits=tuple(max(1, b - (precision.data_bits is None)) for b in formats.data_bits),
    )


def _seed_constants(x) -> tuple:
    found = x.operation.coefficients if x.does(Combination) else x.operation.values if x.does(Numbers) else ()
    return tuple(v for c in found for v in values(c))


def _data_bits(x, scale: int) -> int:
    """Bits that hold the batch, and one to spare."""
    largest = math.floor(math.ldexp(float(np.abs(x.astype(np.float64)).max()), scale) + 0.5)
    return max(1, largest.bit_length()) + 1


def largest_values(circuit: Circuit, samples, nodes: Collection[int]) -> dict[int, float]:
    """The largest absolute value of each of these nodes on any sample, in floating point.

    samples: pairs of states and batch, lists of arrays.
    """
    seen = dict.fromkeys(nodes, 0.0)
    for parameters, batch in samples:
        parameters = [x.astype(np.float64) / circuit.inside(p) for p, x in enumerate(parameters)]
        inputs = [x.astype(np.float64) * 2.0**y.scale for x, y in zip(batch, circuit.inputs, strict=True)]
        values = exact.evaluate(circuit, None, parameters, inputs)
        seen = {i: max(largest, float(np.abs(values[i]).max())) for i, largest in seen.items()}
    return seen


class Magnitudes:
    """The largest absolute values of tensors on samples, in floating point. Circuits of one source share them: formats do not matter.

    samples: pairs of states and batch, lists of arrays; none where only shapes are known.
    """

    def __init__(self, samples):
        self.samples = samples
        self._found: dict = {}  # by what a node stands for

    def of(self, circuit: Circuit, stands_for: Mapping[int, tuple]) -> dict[int, float]:
        """The largest integers of nodes, each given with what it stands for, and the value of its integer 1."""
        missing = [i for i, (name, _) in stands_for.items() if name not in self._found]
        for i, largest in largest_values(circuit, self.samples, missing).items() if missing else ():
            name, factor = stands_for[i]
            self._found[name] = largest * abs(float(factor))
        return {i: self._found[name] / abs(float(factor)) for i, (name, factor) in stands_for.items()}


def widened(formats: Formats, circuit: Circuit, kinds, seen, precision: Precision) -> Formats:
    """Formats in which every value seen has two bits of headroom, where the user has not chosen them."""
    changes: dict = {}
    notes = []
    for tagged, name in ((False, "activation"), (True, "gradient")):
        if getattr(precision, f"{name}_bits") is not None:
            continue
        scale, bits = formats.of(tagged)
        largest, where = max(((seen[i], i) for i, kind in kinds.items() if kind == tagged), default=(0.0, 0))
        needed = math.ceil(math.log2(largest * HEADROOM)) if largest else 0
        if needed <= bits:
            continue
        fixed_scale = not tagged or precision.gradient_scale is not None
        changes[f"{name}_bits"] = needed if fixed_scale else min(needed, MAX_FORMAT_BITS)
        if not fixed_scale:
            changes["gradient_scale"] = scale - max(0, needed - MAX_FORMAT_BITS)
        value = f"a value of {largest * 2.0**-scale:.3g} on the given batch"
        if changes[f"{name}_bits"] > 19 or changes.get("gradient_scale", 0) < 0:
            raise PrecisionError(
                f"{circuit.describe(where)}: {value} needs {needed} bits at scale {scale}, beyond the largest table; "
                f"scale data or parameters down, or use a smaller Precision.{name}_scale"
            )
        chosen = changes.get("gradient_scale", scale) if tagged else scale
        notes.append(
            f"{name} format widened to {changes[f'{name}_bits']} bits at scale {chosen}: the batch left less than two bits of headroom"
        )
    return Formats(**{**formats.__dict__, **changes, "notes": (*formats.notes, *notes)}) if changes else formats


def with_tables(circuit: Circuit, precision: Precision, chunk: int) -> Circuit:
    """The circuit with the cheapest table width: fewest cells, lookups and table entries in a chunk."""
    least = max([circuit.nodes[i].operation.bits + 1 for i in circuit.rounded] + [x.bits + 1 for x in circuit.inputs] + [4])
    if precision.table_bits is not None:
        if precision.table_bits < least:
            raise PrecisionError(
                f"Precision.table_bits is {precision.table_bits}, but the formats need {least}; use fewer bits in the formats"
            )
        return circuit.with_table_bits(precision.table_bits)
    if least > 20:
        raise PrecisionError(f"the formats need tables of {least} bits, beyond 20; use fewer activation, gradient or data bits")
    return min((circuit.with_table_bits(b) for b in range(least, 21)), key=lambda c: c.counts(chunk).cost)
