"""Lowering: expressions to the integer nodes of a circuit.

Operands of products are *demanded* narrow; a demand belongs to the tensor, so every reader of a tensor reads the same
narrow value. Then expressions are emitted as integer nodes, each with a rational factor: value = factor * integer. All
constants move into the factor, where they cost nothing, and leave it in three places: as powers of two in the shift of a
rescale; exactly in the factor of the loss; and what is not a power of two, the learning rate's part of it included, in one
rounded constant for each tensor that needs one, once it is narrow (``_Emitter._rescaled``). So gradients come in a *unit*
in which the largest learning rate is a power of two, and parameters need no bit for the rest of it.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from ..circuit.circuit import Circuit
from ..circuit.parts import Input, Loss
from ..errors import PrecisionError
from ..ops.arithmetic import Linear, Sum
from ..ops.draw import Draw
from ..ops.leaves import Const, InputArray, Next, Param
from ..ops.moves import Concatenate
from ..ops.operation import Leaves, Node, Operation
from ..ops.products import Dot, Gate
from ..ops.rescale import Rescale, Sign
from .constants import CONSTANT_BITS
from .demands import Demands, demands
from .expressions import Above, Combination, Expression, Numbers, are_weights, masked, scaling
from .formats import Formats
from .motions import Row, Uses, cycles, uses
from .motions import exact as exact_states
from .names import Names
from .precision import StateFormat
from .rationals import common, dyadic, gradient_unit, odd, valuation
from .series import Series, values
from .states import Lowered, Moved, odd_parts, rate_tables
from .step import Program

MASKED_BITS = 8  # significant bits of a constant that multiplies a masked tensor, such as dropout's 1 / keep
ALIGNED_BITS = 16  # significant bits of a coefficient in a sum
MAX_WEIGHT_SCALE = MAX_SHIFT = 62
MAX_REPETITIONS = 8  # of the emission, until exact states have the scales that their updates need
UNMOVED = "no parameter is updated: every learning rate or every gradient is 0"
PLAIN_BITS = 60  # a value within this many bits, its constant included, is multiplied by the constant as it is


class _Builder:
    """Nodes of the circuit, each with a bound (None: depends on a parameter) and the kinds of tensors on which claims on it end."""

    def __init__(self, inputs: tuple[Input, ...]):
        self.leaves, self.nodes, self.bounds, self.reach, self._made = Leaves(inputs, ()), [], [], [], {}

    def add(self, operation: Operation, inputs, shape, factor: Fraction, label: str) -> int:
        key = operation, tuple(inputs), tuple(shape)
        if key in self._made:
            return self._made[key]
        self.nodes.append(Node(operation, tuple(inputs), tuple(shape), valuation(factor), label))
        shapes = [self.nodes[i].shape for i in inputs]
        self.bounds.append(operation.bound([self.bounds[i] for i in inputs], shapes, self.leaves))
        below = (self.reach[i] for i in operation.below(tuple(inputs)))
        self.reach.append(frozenset().union(*below) if operation.ends is None else frozenset([operation.ends]))
        self._made[key] = len(self.nodes) - 1
        return self._made[key]


@dataclass(frozen=True, eq=False)
class Emission:
    """A circuit, of the widest table, and what its formats follow from.

    rounded: for each rescale the tensor's name, and whether it is a gradient; unit: gradients are integers times it and a power of two.
    names: of all tensors that may be rounded. moved: the states that are multiplied, by number. read: those that the step reads within a
    period. units: of all states.
    stands_for: of rescales and of what feeds states, the tensor, and the value of the node's integer 1. feeds: of each tensor that feeds
    a state the node, and that value.
    """

    circuit: Circuit
    rows: tuple[Row, ...]
    rounded: dict[int, tuple[str, bool]]
    unit: Fraction
    names: Names
    moved: dict[int, Moved]
    read: set[int]
    units: dict[int, Fraction]
    stands_for: dict[int, tuple]
    feeds: dict[Expression, tuple]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is rounded: demands, and of each exact state what is added to it."""

    rows: tuple[Row, ...]
    demands: Demands
    uses: dict[int, Uses]
    names: Names


def emit(program: Program, rows: tuple[Row, ...], formats: Formats, steps) -> Emission:
    """Stages two and three. rows: of the program's states.

    The scale of an exact state is what its updates need. What they read hardly depends on it, so one repetition settles most of them;
    where one exact state follows from others, theirs come first.
    """
    plan = _planned(program, rows, frozenset(formats.states), formats.rounded)
    rates = rate_tables(plan.uses)
    paths = {p: program.states[p].leaf.path for p in plan.uses}
    scales = {p: formats.parameters.get(path, formats.activation_scale + formats.gradient_scale) for p, path in paths.items()}
    for _ in range(MAX_REPETITIONS):
        emission, needed = _Emitter(program, plan, formats, scales, gradient_unit(rates)).emission(steps)
        for p, scale in needed.items():
            if scale > MAX_WEIGHT_SCALE:
                least = min((abs(r) for table in rates for r in table if r), default=Fraction(0))
                raise PrecisionError(
                    f"a learning rate of {float(least):.6g} needs {paths[p]} with {scale} bits after the point, beyond "
                    f"{MAX_WEIGHT_SCALE}; use a larger rate, or a smaller Precision.activation_scale or gradient_scale"
                )
        if needed == scales:
            return emission
        scales = needed
    raise PrecisionError(f"no scales fit all updates of {', '.join(paths.values())}; use dyadic learning rates")


def _whole(c) -> bool:
    """Whether a coefficient is an integer in every step: then an exact state may be added to another of the same scale."""
    return all(Fraction(v).denominator == 1 for v in values(c))


@lru_cache(maxsize=4)
def _planned(program: Program, found: tuple[Row, ...], named: frozenset[str], rounded: bool) -> _Plan:
    """found: the rows of all states. named: paths of states with a format of their own. rounded: as in ``Formats``."""
    needed = demands(program, [x for p, row in enumerate(found) if not row.frozen(p) for x in row.feeds])
    around, through = cycles(found, needed.narrow)
    kept = exact_states(found, around)
    kept -= {p for p in kept if any(r in kept and r != p and not _whole(c) for r, c in found[p].carry.items())}
    for p in sorted(kept):
        multiplied = program.states[p].leaf.path in named or rounded and set(found[p].carry) - kept
        if not found[p].frozen(p) and multiplied:
            kept -= {p}
    needed = replace(needed, narrow=needed.narrow | through)
    return _Plan(found, needed, {p: uses(found, p, kept) for p in sorted(kept)}, Names(program, found, needed))


class _Emitter:
    def __init__(self, program, plan, formats, scales, unit):
        self.program, self.plan, self.formats, self.scales, self.unit = program, plan, formats, scales, unit
        inputs = [x for x in program.graph.expressions if x.does(InputArray)]
        self.inputs = tuple(Input(name, x.shape, *formats.data[name]) for name, x in zip(program.input_names, inputs, strict=True))
        self.builder = _Builder(self.inputs)
        self.values: dict[Expression, tuple[Fraction, int]] = {}
        self.names = plan.names
        self.rounded: dict[int, tuple[str, bool]] = {}
        self.stands_for: dict[int, tuple] = {}
        self.quotient_units: dict[Expression, Fraction] = {}  # value of one unit of a quotient, before its constant was rounded
        self.notes: list[str] = []
        self.absorbed = _absorbed(plan.demands)
        self.odd = dict.fromkeys(range(len(program.states)), Fraction(1)) | odd_parts(plan.uses)
        self.units = {p: Fraction(2) ** -scales[p] if p in scales else self._unit(p) for p in range(len(program.states))}
        self.lowered = Lowered(self, plan.rows, plan.uses)

    def emission(self, steps) -> tuple[Emission, dict[int, int]]:
        """The circuit and what it follows from, and the scales that its exact states need."""
        graph, found = self.program.graph, self.plan.demands
        committed = {p for p, state in enumerate(self.program.states) if state.start is None}
        leaves = [x for x in graph.expressions if x.does(InputArray) or x.does(Param) and x.operation.index in committed]
        for x in dict.fromkeys((*leaves, *found.needed)):  # leaves: also those that nothing reads, for they are committed
            self.values[x] = self._narrowed(x, self._emit(x), found)
        parameters, needed = self.lowered.parameters()
        if not any(p.updates or p.recurrence for p in parameters):
            self.notes.append(UNMOVED)
        losses = tuple(self._loss(*loss) for loss in found.losses)
        moved = {p: self.lowered.moved(p) for p in range(len(parameters)) if p not in self.plan.uses}
        circuit = Circuit(
            nodes=tuple(self.builder.nodes),
            inputs=self.inputs,
            parameters=parameters,
            losses=losses,
            table_bits=20,
            max_steps=steps if self._tabulated(parameters) else None,
            period=self.formats.period if moved else 1,
            public=self.program.public,
            notes=tuple(dict.fromkeys((*self.formats.notes, *self.notes))),
        )
        fed = {x: self.values[x] for row in self.plan.rows for x in row.feeds if x in self.values}
        feeds = {x: (node, factor) for x, (factor, node) in fed.items()}
        stands_for = self.stands_for | {node: (x, factor) for x, (node, factor) in feeds.items()}
        read = {node.operation.index for node in circuit.nodes if isinstance(node.operation, Param | Next)}
        emission = Emission(circuit, self.plan.rows, self.rounded, self.unit, self.names, moved, read, self.units, stands_for, feeds)
        return emission, needed

    def _tabulated(self, parameters) -> bool:
        """Whether rates, coefficients or keys are those of the steps that were traced."""
        drawn = (node.operation.words for node in self.builder.nodes if isinstance(node.operation, Draw))
        return any(len(table) > 1 for p in parameters for table in p.tables()) or any(len(words) > 2 for words in drawn)

    # ---- states
    def format(self, p: int) -> StateFormat:
        """Of a state that is multiplied; before anything is known of it, a wide one."""
        default = StateFormat(self.formats.activation_scale + self.formats.gradient_scale, 40, 0, 20)
        return self.formats.states.get(self.program.states[p].leaf.path, default)

    def _unit(self, p: int) -> Fraction:
        return self.odd[p] * Fraction(2) ** -self.format(p).scale

    def state(self, operation: Param | Next) -> tuple[Fraction, int]:
        """The value of its integer 1, and the node, of a state before (``Param``) or after (``Next``) the step."""
        p = operation.index
        leaf = self.program.states[p].leaf
        factor = self.units[p] if p in self.plan.uses else self.units[p] * Fraction(1, 2 ** self.format(p).inner)
        reads = [node for node, *_ in self.lowered.moved(p).feeds] if isinstance(operation, Next) else []
        return factor, self._add(operation, reads, leaf.shape, factor, leaf.path + (" after the step" if reads else ""))

    def _emit(self, x) -> tuple[Fraction, int]:
        """(factor, node) of an expression whose inputs are emitted."""
        values = [self.values[y] for y in x.inputs]
        rule = EMITTED.get(type(x.operation), _Emitter._as_it_is)
        return rule(self, x, [f for f, _ in values], [n for _, n in values], self.names.label(x))

    def _input(self, x, factors, nodes, label):
        factor = Fraction(1, 2 ** self.inputs[x.operation.index].scale)
        return factor, self._add(x.operation, nodes, x.shape, factor, label)

    def _parameter(self, x, factors, nodes, label):
        return self.state(x.operation)

    def _numbers(self, x, factors, nodes, label):
        factor, integers = self._integers(x.operation.values, "constants", CONSTANT_BITS)
        return factor, self._add(Const(x.shape, integers), nodes, x.shape, factor, label)

    def _combination(self, x, factors, nodes, label):
        if x.is_scaling:
            return x.operation.coefficients[0] * factors[0], nodes[0]
        coefficients = [c * f for c, f in zip(x.operation.coefficients, factors, strict=True)]
        factor, integers = self._integers(coefficients, label, ALIGNED_BITS)
        return factor, self._add(Linear(integers), nodes, x.shape, factor, label)

    def _concatenate(self, x, factors, nodes, label):
        factor, integers = self._integers(factors, label, ALIGNED_BITS)
        nodes = [self._times(c, n, factor, label) for c, n in zip(integers, nodes, strict=True)]
        return factor, self._add(x.operation, nodes, x.shape, factor, label)

    def _above(self, x, factors, nodes, label):
        return Fraction(1), self._add(Sign(), nodes, x.shape, Fraction(1), label)

    def _as_it_is(self, x, factors, nodes, label):
        """A sum, a product, a move: the factors of what it reads multiply."""
        factor = math.prod(factors, start=Fraction(1))
        return factor, self._add(x.operation, nodes, x.shape, factor, label)

    def _add(self, operation: Operation, inputs, shape, factor, label) -> int:
        return self.builder.add(operation, tuple(inputs), shape, factor, label)

    def _times(self, c: int, node: int, factor: Fraction, label: str) -> int:
        if c == 1:
            return node
        return self._add(Linear((c,)), [node], self.builder.nodes[node].shape, factor, label)

    def _integers(self, rationals, label: str, bits: int) -> tuple[Fraction, tuple[int, ...]]:
        """A common factor and integers: exact, unless the integers had more than ``bits`` significant bits."""
        rationals = [Fraction(r) for r in rationals]
        factor = common(rationals)
        integers = [int(r / factor) for r in rationals]
        if max((v // (v & -v) if v else 0).bit_length() for v in map(abs, integers)) > bits:
            rounded = [Fraction(n) * Fraction(2) ** -s for n, s in (dyadic(r, bits) if r else (0, 0) for r in rationals)]
            error = max(abs(a - b) / abs(b) for a, b in zip(rounded, rationals, strict=True) if b)
            if error:
                self.notes.append(f"{label}: coefficients rounded to {bits} bits (largest relative error {float(error):.1e})")
            factor = common(rounded)
            integers = [int(r / factor) for r in rounded]
            if max(map(abs, integers)) >= 2**62:
                low, high = (float(f(map(abs, rationals))) for f in (min, max))
                raise PrecisionError(f"{label}: coefficients {low} and {high} of a sum cannot be aligned; bring them closer together")
        return factor, tuple(integers)

    def _narrowed(self, x, value, demands: Demands) -> tuple[Fraction, int]:
        """``value``, through a rescale if x is demanded narrow and is not so already."""
        factor, node = value
        forced = x in demands.quotients
        if forced:
            if isinstance(self.builder.nodes[node].operation, Rescale) and factor > 0:
                return value
        elif x not in demands.narrow or self._is_operand(x, factor, node):
            return value
        return self._rescaled(x, factor, node)

    def _of(self, x) -> tuple[Fraction, int]:
        """The format of x: value of its unit, and bits."""
        scale, bits = self.formats.of(self.names.of[x], x.tagged)
        return (self.unit if x.tagged else Fraction(1)) / self.absorbed.get(x, 1) * Fraction(2) ** -scale, bits

    def _is_operand(self, x, factor: Fraction, node: int) -> bool:
        """Whether a node may be read by a product as it is: committed tensors within the format, or weights.

        A constant such as 1/3 is better absorbed by a rescale than carried on into the rounding of a learning rate.
        """
        unit, bits = self._of(x)
        if abs(odd(factor / unit)) != 1:
            return False
        reach, bound = self.builder.reach[node], self.builder.bounds[node]
        return are_weights(x) or "dot" not in reach and bound is not None and bound <= 2**bits

    def _rescaled(self, x, factor: Fraction, node: int) -> tuple[Fraction, int]:
        """``factor * node`` in the format of x: node * n >> shift, where n * 2^-shift is the factor in units of the format.

        A constant n of ``CONSTANT_BITS`` bits on a wide value would cost its bits in every bound, so a value that depends on
        parameters is rounded to the format's bits first, and once more after n: two small errors instead of bits. The constants of masked
        tensors are rounded to ``MASKED_BITS``: every layer with dropout has one, and so few bits cost no cell.
        """
        unit, bits = self._of(x)
        label, few = self.names.of[x], x in self.absorbed
        digits = MASKED_BITS if few else CONSTANT_BITS
        n, shift = dyadic(factor / unit, digits)
        if shift <= 0:  # already as coarse as the format: the quotient is the integer itself
            shift, n, unit = 0, 1 if factor > 0 else -1, abs(factor)
        elif (error := abs(Fraction(n, 2**shift) * unit / factor - 1)) > 0:
            self.notes.append(f"{label}: constant rounded to {digits} bits (relative error {float(error):.1e})")
        self.quotient_units[x] = factor * Fraction(2**shift, n)
        bound, last = self.builder.bounds[node], n.bit_length()
        if abs(n) > 1 and shift > last and not few and (bound is None or (bound * abs(n)).bit_length() > PLAIN_BITS):
            node = self._quotient(x, node, shift - last, bits, unit * Fraction(n, 2**last), f"{label} before its constant")
            shift = last
        return unit, self._quotient(x, self._times(n, node, unit / 2**shift, label), shift, bits, unit, label)

    def _quotient(self, x, node: int, shift: int, bits: int, unit: Fraction, label: str) -> int:
        if shift > MAX_SHIFT:
            raise PrecisionError(
                f"{label}: its format drops {shift} bits, more than {MAX_SHIFT}; the learning rate or a constant of the loss is too small"
            )
        quotient = self._add(Rescale(shift=shift, bits=bits), [node], x.shape, unit, label)
        self.rounded[quotient] = self.names.of[x], x.tagged
        self.stands_for[quotient] = x, unit
        return quotient

    def _loss(self, output: str, c: Fraction, leaf, gradient) -> Loss:
        """One summand of an output, exact: the traced one, or the quadratic form of the narrow output gradient."""
        if gradient is not None:
            factor, node = self.values[gradient]
            unit, (k, _) = self.quotient_units.get(gradient, factor), scaling(gradient)
            axes = tuple(range(len(gradient.shape)))
            form = self._add(Dot(contract=(axes, axes), batch=((), ())), [node, node], (), factor * factor, output)
            return Loss(form, c * (unit / k) ** 2, output)
        factor, node = self.values[leaf]
        if leaf.does(Dot) and leaf.operation.batch[0]:  # entry by entry: contract instead of summing afterwards
            values = [self.values[y][1] for y in leaf.inputs]
            axes = tuple(a + b for a, b in zip(leaf.operation.contract, leaf.operation.batch, strict=True))
            free = [len(y.shape) - len(a) for y, a in zip(leaf.inputs, axes, strict=True)]
            if not any(free):
                return Loss(self._add(Dot(contract=axes, batch=((), ())), values, (), factor, output), c * factor, output)
        if leaf.shape:
            node = self._add(Sum(tuple(range(len(leaf.shape)))), [node], (), factor, output)
        return Loss(node, c * factor, output)


def _absorbed(found: Demands) -> dict[Expression, Fraction]:
    """Of tensors that are rounded, masked, and then multiplied by a constant, as in dropout: its odd part, which their unit takes over.

    1 where the rounding comes after the constant, as in dropout's gradient.
    """
    result, rounded = {}, found.narrow | found.quotients
    for x in found.needed:
        c, y = scaling(x)
        base = masked(y) if y is not x and not isinstance(c, Series) else None
        if base is not None and x in rounded:
            result[x] = Fraction(1)
            continue
        while base is not None and base not in rounded:
            base = base.inputs[1] if base.does(Gate) else masked(base)
        if base is not None:
            result.setdefault(base, abs(odd(c)))
    return result


# How an expression becomes a node, where it is not the same operation with other factors.
EMITTED = {
    InputArray: _Emitter._input,
    Param: _Emitter._parameter,
    Numbers: _Emitter._numbers,
    Combination: _Emitter._combination,
    Concatenate: _Emitter._concatenate,
    Above: _Emitter._above,
}
