"""Formats: how many bits each rounded tensor gets, where the user has not said so.

Defaults follow from the loss: one format for activations, one for gradients. A tensor whose values on the given batch are far below
its default's range gets a finer scale, and one that leaves less than two bits of it a coarser one. Frozen parameters get as many bits
as a proof's range check of their first values resolves. Bounds that leave the field make first what is finer, then all of it coarser;
the cheapest table width follows.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..errors import DataError, PrecisionError
from ..ops.arithmetic import Linear
from ..ops.moves import MOVES
from ..ops.rescale import Rescale
from .expressions import Applied, Combination, Numbers, SquareRoot
from .precision import MAX_SCALE, Precision, StateFormat, TensorFormat
from .series import values

HEADROOM = 2  # bits that a format's range has at least above the largest value seen
MAX_BITS = 19  # of a format
ACTIVATION_SCALE, GRADIENT_BITS = 10, 13  # by default
# Bits of gradients where an optimizer or a layer divides by the size of what it reads, or takes signs: small ones count as large ones do.
MORE = 2
COARSEST_SCALE, COARSEST_GRADIENT = 4, 9  # what defaults become at the least, where bounds ask for it
# Kinds of formats: gradients, those of which there are functions ("slope"), those that are squared ("moment"); activations, those that
# are divided by the root of a mean of their squares ("normalised"), those of which there are functions ("site"), or which besides have a
# bound and one sign ("bounded"); weights that are rounded for products; functions, roots, quotients and those that feed a state ("ratio").
# Of each: bits of a default range that the largest value may leave unused, bits that its default has more than activations or gradients,
# after the point and in all, and bits that it leaves above the largest value seen besides HEADROOM.
SPARE = {
    **{"activation": 3, "gradient": 5, "slope": 4, "moment": 3},
    **{"weight": 3, "normalised": 3, "site": 4, "bounded": 0, "function": 3, "root": 2, "quotient": 4, "ratio": 4},
}
FINER = {"activation": 0, "weight": 3, "normalised": 4, "site": 0, "function": 4, "root": 8}
WIDER = {"activation": 0, "gradient": 0, "slope": 2, "moment": -2, "normalised": 4, "weight": 3, "site": 1, "function": 4, "root": 4}
ROOM = {"site": 1, "bounded": -HEADROOM, "slope": 2, "moment": 1}
ROOMY = ("activation", "normalised", "gradient", "moment", "weight")  # whose ranges may be wider, as nothing else follows from them
FREE = ("weight", "bounded", "slope", "moment", "function", "root", "quotient", "ratio")  # whose scales follow from their values alone
GRADIENTS = ("gradient", "slope", "moment")  # in units of gradients
TABLED = ("site", "bounded", "slope", "function")  # whose entries index tables, or come from them
BOUNDED_BITS = 13  # at least, of what has a bound, from its middle
RATIO_BITS = 14  # of a quotient without a bound, else one less: its range is looked up, where a function's width costs nothing
# Entries of a root that may be a norm, which grows with what it is of; bits of range that it has more, at the price of few lookups.
NORM, MORE_OF_NORM = 8, 4
FEW_SAMPLES, FEW_ENTRIES = 2, 64  # up to which tensors are looked at on halves of the batch as well
FINEST = (16, 8, 4, 2, 0)  # bits by which a scale is finer than the default, at most; tried until bounds hold
LATER_AT_MOST = 2**8  # times as large as in the first step are values of later steps that formats hold
CANCELLED = 16  # times what a sum that cancels could be is its format's largest value, so that the noise of roundings becomes 0 in it
GROWTH = 16  # what is 0 where a chain begins is expected to become so many times what it is some steps later
GROWN = 4  # bits that it has more, as it is much smaller at first
FROZEN_BITS = 14  # of the largest value of a parameter that stays as it is: the range check of first values shows hardly more
LONGEST_PERIOD = 16  # steps after which multiplied states are rounded, where nothing is said


@dataclass(frozen=True)
class Formats:
    """Integers of the two default formats: scale and bits; data: the format of each input, by name.

    tensors: of single tensors, by name. parameters: bits after the point of exact parameters, by path: what is known of them beside the
    needs of their updates. states: of those that are multiplied, by path. finer: bits by which scales of single tensors are finer than the
    default at most; refined: by which the finest is. rounded: weights are multiplied states where they read one, although they need not be.
    weights: paths of states that products read rounded. more: bits by which activations and gradients are finer than by default; roots are
    not, and moments twice; less: by which single tensors are coarser than that, by name. room: bits by which ranges may be wider, where
    tables of these widths are there anyway. frozen: bits by which parameters that stay as they are are finer than by default. useful: bits
    below the change of a step that errors of coefficients are within a period.
    """

    activation_scale: int
    activation_bits: int
    gradient_scale: int
    gradient_bits: int
    data: Mapping[str, TensorFormat]
    rate_tolerance: Fraction
    tensors: Mapping[str, TensorFormat] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, StateFormat] = field(default_factory=dict)
    finer: int = FINEST[0]
    refined: int = 0
    rounded: bool = False
    weights: frozenset[str] = frozenset()
    more: tuple[int, int] = (0, 0)
    less: Mapping[str, int] = field(default_factory=dict)
    room: int = 0
    frozen: int = 0
    tables: frozenset[int] = frozenset()
    useful: int = 8
    period: int = 1
    notes: tuple[str, ...] = ()

    def default(self, kind: str) -> TensorFormat:
        """Of a kind of tensors."""
        if kind in GRADIENTS:
            scale, bits = self.gradient_scale, self.gradient_bits + WIDER[kind] + (self.more[1] if kind == "moment" else 0)
        elif kind == "ratio":
            scale, bits = RATIO_BITS - SPARE[kind], RATIO_BITS
        elif kind == "quotient":
            scale, bits = self.activation_scale, max(self.activation_bits + 1, RATIO_BITS)
        elif kind == "bounded":
            scale, bits = self.activation_scale, min(max(self.activation_bits, BOUNDED_BITS), BOUNDED_BITS + 4)
        else:
            scale, bits = self.activation_scale + FINER[kind], self.activation_bits + WIDER[kind]
        if kind == "root":  # whose square is in every bound
            scale, bits = scale - self.more[0], bits - self.more[0]
        beyond = max(0, bits - MAX_BITS)
        return TensorFormat(scale - beyond, bits - beyond)

    def of(self, name: str | None, kind: str) -> TensorFormat:
        """Of the tensor with that name."""
        return self.tensors.get(name) or self.default(kind)


def default_formats(program, batch, precision: Precision, chunk: int, finer: int = 0, gradients: int = 0) -> Formats:
    """The user's formats, and defaults for what is None, activations and gradients so many bits finer; ``batch`` holds NumPy arrays, or
    shapes where the data are not known."""
    divides = program.graph.normalised or any(x.tagged and x.does(SquareRoot, Applied) for x in program.graph.expressions)
    more = MORE if divides else 0
    a = ACTIVATION_SCALE + finer if precision.activation_scale is None else precision.activation_scale
    bits = a + SPARE["activation"] if precision.activation_bits is None else precision.activation_bits
    gradient_bits = GRADIENT_BITS + more + gradients if precision.gradient_bits is None else precision.gradient_bits
    gradient_scale = precision.gradient_scale
    if gradient_scale is None:
        # A range of +-4 divided by the loss's mean divisor: the constants that carry the seed into the graph.
        seeds = [abs(c) for x in program.graph.expressions if x.tagged and not any(y.tagged for y in x.inputs) for c in _seed_constants(x)]
        largest = max(seeds, default=Fraction(1)) or Fraction(1)
        gradient_scale = max(0, gradient_bits - math.ceil(math.log2(4 * largest)))
    if precision.data_bits is not None and len(precision.data_bits) != len(batch):
        raise DataError(f"Precision.data_bits has {len(precision.data_bits)} entries for {len(batch)} arrays in the batch")
    named = precision.tensors or {}
    for name in program.input_names:
        if name in named and named[name].scale < 0:
            raise PrecisionError(f"the format of {name} in Precision.tensors has a scale of {named[name].scale}; data need at least 0")
    for name, x in zip(program.input_names, batch, strict=True):
        if name in named and named[name].scale and np.dtype(x.dtype).kind in "iu":
            raise PrecisionError(f"{name} holds integers, so its scale is 0, not {named[name].scale} as Precision.tensors has it")
    arrays = enumerate(zip(program.input_names, batch, strict=True))
    data = {name: named.get(name) or _data_format(x, a, bits, precision, k) for k, (name, x) in arrays}
    period = min(chunk, LONGEST_PERIOD) if precision.period is None else precision.period
    tolerance, parameters = Fraction(precision.rate_tolerance), dict(precision.parameters or {})
    weights = frozenset(state.leaf.path for state in program.states if state.leaf.path in named)
    given = {"parameters": parameters, "weights": weights, "more": (finer, gradients), "period": period}
    return Formats(a, bits, gradient_scale, gradient_bits, data, tolerance, dict(named), **given)


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
    named, less = precision.tensors or {}, int(precision.data_bits is None)
    return replace(
        formats,
        activation_scale=formats.activation_scale - 1,
        activation_bits=formats.activation_bits - (precision.activation_bits is None),
        data={
            name: x if name in named or not x.scale else TensorFormat(x.scale - 1, max(1, x.bits - less))
            for name, x in formats.data.items()
        },
    )


def _seed_constants(x) -> tuple:
    found = x.operation.coefficients if x.does(Combination) else x.operation.values if x.does(Numbers) else ()
    return tuple(v for c in found for v in values(c))


def _data_format(x, scale: int, bits: int, precision: Precision, k: int) -> TensorFormat:
    """Of array k of the batch: its values and one bit to spare, resolved as activations are where the scale is not given."""
    known, whole, mask = isinstance(x, np.ndarray), np.dtype(x.dtype).kind in "iu", np.dtype(x.dtype).kind == "b"
    largest = 1.0 if known and mask else float(np.abs(x.astype(np.float64)).max()) if known else 0.0  # whatever this batch's mask is
    if whole:  # an integer stays one, whatever is committed
        scale = 0
    elif precision.activation_scale is None and precision.data_bits is None and largest:
        e = _exponent(largest)
        scale = max(0, min(MAX_BITS - 2 - e, max(scale, min(scale + FINEST[0], scale - e))))
    if precision.data_bits is not None:
        return TensorFormat(scale, precision.data_bits[k])
    integer = math.floor(math.ldexp(largest, scale) + 0.5)
    return TensorFormat(scale, max(1, integer.bit_length()) + 1 if known else bits)


def _exponent(x: float) -> int:
    """The least e with x <= 2^e."""
    return math.ceil(math.log2(x))


def frozen_scale(largest: float, finer: int) -> int:
    """Bits after the point of a parameter that stays as it is, from its largest absolute value; so many more than by default."""
    return max(-MAX_SCALE, min(MAX_SCALE, FROZEN_BITS + finer - _exponent(largest))) if largest else FROZEN_BITS


def largest_values(circuit: Circuit, samples, nodes: Collection[int], noisy: dict[int, float]) -> dict[int, float]:
    """The largest absolute value of each of these nodes on any sample, in floating point.

    samples: (step, states, batch), lists of arrays. noisy: gets of nodes that are sums which cancel how large these could be.
    """
    seen = dict.fromkeys(nodes, 0.0)
    for step, parameters, batch in samples:
        parameters = [x.astype(np.float64) / circuit.inside(p) for p, x in enumerate(parameters)]
        inputs = [x.astype(np.float64) * 2.0**y.scale for x, y in zip(batch, circuit.inputs, strict=True)]
        values = exact.evaluate(circuit, None, parameters, inputs, paces=circuit.paces(step), cancelled=(cancelled := {}))
        seen = {i: max(largest, float(np.abs(values[i]).max())) for i, largest in seen.items()}
        for i in nodes if cancelled else ():
            noisy[i] = max(noisy.get(i, 0.0), _of_terms(circuit, i, cancelled))
    return seen


def _of_terms(circuit: Circuit, i: int, cancelled: Mapping[int, float]) -> float:
    """How large a multiple of a sum that cancels could be; 0 of anything else."""
    size = 1.0
    while i not in cancelled:
        operation, inputs = circuit.nodes[i].operation, circuit.nodes[i].inputs
        if len(inputs) != 1 or not isinstance(operation, (Linear, Rescale, *MOVES)):
            return 0.0
        size *= abs(operation.coefficients[0]) if isinstance(operation, Linear) else 1.0
        size *= 2.0**-operation.shift if isinstance(operation, Rescale) else 1.0
        (i,) = inputs
    return size * cancelled[i]


def halves(samples):
    """The samples, with each half of their batches in the place of the whole, its rows repeated."""
    for step, states, batch in samples:
        lengths = {len(x) if x.ndim else 1 for x in batch}
        if len(lengths) == 1 and (count := lengths.pop()) > 1:
            for part in (slice(count // 2), slice(count - count // 2, None)):
                yield step, states, [np.resize(x[part], x.shape) for x in batch]


class Magnitudes:
    """The largest absolute values of tensors on samples, in floating point. Circuits of one source share them: formats do not matter.

    samples: (step, states, batch), lists of arrays; none where only shapes are known. later: makes more of them, of later steps, for
    tensors that are 0 on all samples, as gradients of an adapter that begins with zeros are.
    """

    def __init__(self, samples, later: Callable[[], list] = list):
        self.samples, self._later, self._more = samples, later, None
        self._found: dict = {}  # by what a node stands for
        self._noisy: dict = {}  # of sums that cancel, the same of what they could be
        self._grown: set = set()  # what is 0 in the first step, and not some steps later

    def of(self, circuit: Circuit, stands_for: Mapping[int, tuple]) -> dict[int, float]:
        """The largest integers of nodes, each given with what it stands for, and the value of its integer 1."""
        missing = [i for i, (name, _) in stands_for.items() if name not in self._found]
        few = [i for i in missing if math.prod(circuit.nodes[i].shape) <= FEW_ENTRIES]
        first: dict = {}
        for samples in self.samples[:1], self.samples[1:]:
            self._look(circuit, stands_for, missing, samples)
            if len(self.samples) <= FEW_SAMPLES:  # a sum over one batch may cancel, and not over the next
                self._look(circuit, stands_for, few, halves(samples))
            first = first or {stands_for[i][0]: self._found.get(stands_for[i][0], 0.0) for i in missing}
        for name, largest in first.items():  # a quotient by what vanishes later would leave no bits for what it is now
            if largest:
                self._found[name] = min(self._found[name], LATER_AT_MOST * largest)
        zero = [i for i in missing if not self._found[stands_for[i][0]]] if self.samples else []
        if zero:
            self._more = self._later() if self._more is None else self._more
            self._look(circuit, stands_for, zero, self._more, GROWTH)
        self._grown |= {name for name, largest in first.items() if not largest and self._found[name]}
        return {i: self._found[name] / abs(float(factor)) for i, (name, factor) in stands_for.items()}

    def largest(self, name) -> float:
        """The largest value of what was asked for before."""
        return self._found[name]

    def noisy(self, name) -> float:
        """How large it could be if it is 0 on all samples and a sum that cancels, so that rounding alone would leave something; else 0."""
        return 0.0 if self._found[name] else self._noisy.get(name, 0.0)

    def grows(self, name) -> bool:
        """Whether it is 0 where a chain begins, and not some steps later."""
        return name in self._grown

    def _look(self, circuit: Circuit, stands_for: Mapping[int, tuple], nodes: list[int], samples, growth: int = 1) -> None:
        noisy: dict[int, float] = {}
        for i, largest in largest_values(circuit, samples, nodes, noisy).items() if nodes else ():
            name, factor = stands_for[i]
            largest = largest if math.isfinite(largest) else 0.0  # what is divided by 0 tells nothing
            self._found[name] = max(self._found.get(name, 0.0), growth * largest * abs(float(factor)))
            self._noisy[name] = max(self._noisy.get(name, 0.0), noisy.get(i, 0.0) * abs(float(factor)))


class Seen(NamedTuple):
    """Of a rounded tensor: its kind, the largest value seen, in units of its kind, the number of entries, and whether it begins with 0."""

    kind: str
    largest: float
    entries: int
    grows: bool


def fitted(formats: Formats, sizes: Mapping[str, Seen], precision: Precision) -> Formats:
    """Formats in which every value seen has two bits of headroom, and no tensor is left with few bits, where the user has not chosen.

    sizes: of each rounded tensor.
    """
    notes, refined, named = [], 0, precision.tensors or {}
    made = {name: formats.of(name, seen.kind) for name, seen in sizes.items()}
    chosen = {**formats.tensors, **made, **named}  # two tensors of one format may be one node, which has one name
    for kind in SPARE:
        scale, bits = formats.default(kind)
        given = "gradient" if kind in GRADIENTS else "activation"
        scale_given, bits_given = (getattr(precision, f"{given}_{x}") is not None for x in ("scale", "bits"))
        scale_given, bits_given = scale_given and kind == given, bits_given and kind == given
        found = {name: x.largest for name, x in sizes.items() if x.kind == kind and x.largest and name not in named}
        resolved, headroom = bits - SPARE[kind], HEADROOM + ROOM.get(kind, 0)
        resolved -= (bits - RATIO_BITS) // 2 if kind == "quotient" else 0  # of more bits half are room: other batches divide by less
        where = max(found, key=found.__getitem__, default="")
        if found and scale_given and not bits_given:
            needed = _exponent(found[where]) + scale + HEADROOM
            if needed > MAX_BITS:
                raise PrecisionError(
                    f"[{where}]: a value of {found[where]:.3g} on the given batch needs {needed} bits at scale {scale}, beyond the largest "
                    f"table; scale data or parameters down, or use a smaller Precision.{kind}_scale"
                )
            if needed > bits:
                notes.append(f"{kind} format widened to {needed} bits: [{where}] left less than two bits of headroom on the batch")
                formats, bits = replace(formats, **{f"{kind}_bits": needed}), needed
        for name, largest in found.items():
            e, own = _exponent(largest), scale
            if not scale_given:  # coarser rather than wider: the largest value keeps as many bits, and bounds grow by none
                most = resolved - e if kind in FREE else max(scale, min(scale + formats.finer, resolved - e, MAX_SCALE))
                own = max(-MAX_SCALE, min(bits - headroom - e, most, MAX_SCALE))
            more = MORE_OF_NORM if kind == "root" and sizes[name].entries <= NORM else 0
            gained = min(more, MAX_BITS - bits)
            less = formats.less.get(name, 0)
            grows = sizes[name].grows and kind not in TABLED and not scale_given
            grown = min(GROWN, formats.finer, MAX_BITS - bits - gained) if grows else 0
            chosen[name] = TensorFormat(own - (more - gained) + grown - less, bits + gained + grown - less)
            refined = max(refined, own - scale) if kind not in FREE else refined
    for name, seen in sizes.items():
        given = precision.gradient_bits if seen.kind in GRADIENTS else precision.activation_bits
        if seen.kind in ROOMY and given is None and name not in named:
            scale, bits = chosen[name]
            wider = [width - 1 for width in formats.tables if bits < width - 1 <= min(MAX_BITS, bits + formats.room)]
            chosen[name] = TensorFormat(scale, max(wider, default=bits))
    return replace(formats, tensors=chosen, refined=refined, notes=(*formats.notes, *notes))


def explicit(formats: Formats, circuit: Circuit, precision: Precision) -> Precision:
    """A Precision that leaves nothing open: with it, shapes give the same circuit."""
    return replace(
        precision,
        activation_scale=formats.activation_scale,
        activation_bits=formats.activation_bits,
        gradient_scale=formats.gradient_scale,
        gradient_bits=formats.gradient_bits,
        rate_tolerance=float(formats.rate_tolerance),
        data_bits=tuple(x.bits for x in formats.data.values()),
        tensors={**formats.data, **formats.tensors},
        parameters={p.path: circuit.scale(k)[1] for k, p in enumerate(circuit.parameters) if p.recurrence is None},
        table_bits=circuit.table_bits,
        states=formats.states,
        period=formats.period,
    )


def with_tables(circuit: Circuit, precision: Precision, chunk: int) -> Circuit:
    """The circuit with the cheapest table width: fewest cells, lookups and table entries in a chunk."""
    least = max([circuit.nodes[i].operation.table_width() for i in circuit.limited] + [x.bits + 1 for x in circuit.inputs] + [4])
    if precision.table_bits is not None:
        if precision.table_bits < least:
            raise PrecisionError(
                f"Precision.table_bits is {precision.table_bits}, but the formats need {least}; use fewer bits in the formats"
            )
        return circuit.with_table_bits(precision.table_bits)
    if least > 20:
        raise PrecisionError(f"the formats need tables of {least} bits, beyond 20; use fewer activation, gradient or data bits")
    return min((circuit.with_table_bits(b) for b in range(least, 21)), key=lambda c: c.counts(chunk).cost)
