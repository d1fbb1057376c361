"""Lowering: expressions to the integer nodes of a circuit.

Operands of products are *demanded* narrow; a demand belongs to the tensor, so every reader of a tensor reads the same
narrow value. Then expressions are emitted as integer nodes, each with a rational factor: value = factor * integer. All
constants move into the factor, where they cost nothing, and leave it in three places: as powers of two in the shift of a
rescale; exactly in the factor of the loss; and what is not a power of two, the learning rate's part of it included, in one
rounded constant for each tensor that needs one, once it is narrow (``_Emitter._rescaled``). So gradients come in a *unit*
in which the largest learning rate is a power of two, and parameters need no bit for the rest of it.
"""

import math
from fractions import Fraction

from ..circuit.circuit import Circuit
from ..circuit.parts import Input, Loss
from ..errors import PrecisionError
from ..ops.arithmetic import Linear, Sum
from ..ops.draw import Draw
from ..ops.functions import Site
from ..ops.leaves import Const, InputArray, Next, Param
from ..ops.moves import Concatenate
from ..ops.operation import Operation
from ..ops.paced import Paced
from ..ops.products import Dot, Gate
from ..ops.rescale import Ceiling, Rescale, Sign
from .builder import Builder
from .constants import CONSTANT_BITS
from .demands import Demands, absorbed
from .emission import Emission
from .expressions import (
    Above,
    Applied,
    Combination,
    Expression,
    FirstPlace,
    Maximum,
    Numbers,
    Picked,
    Ratio,
    SquareRoot,
    are_weights,
    scaling,
)
from .formats import Formats
from .functions import constant
from .masked import LOWEST
from .motions import Row, rooted
from .planned import planned
from .precision import StateFormat
from .rationals import common, dyadic, gradient_unit, odd, paced
from .relations import Relations
from .series import Series
from .states import Lowered, odd_parts, odd_squares, rate_tables
from .step import Program

LOST = 2**16  # what is so much less than an integer's unit is left out of a sum
WHOLE = 2**29  # a bound of a sum that is squared in a variance, with all its bits
MASKED_BITS = 8  # significant bits of a constant that multiplies a masked tensor, such as dropout's 1 / keep
ALIGNED_BITS = 16  # significant bits of a coefficient in a sum
MAX_WEIGHT_SCALE = MAX_SHIFT = 62
PACE_TOLERANCE = Fraction(1, 2**9)  # relative error of a number of the step
MAX_REPETITIONS = 8  # of the emission, until exact states have the scales that their updates need
UNMOVED = "no parameter is updated: every learning rate or every gradient is 0"
PLAIN_BITS = 60  # a value within this many bits, its constant included, is multiplied by the constant as it is


def emit(program: Program, rows: tuple[Row, ...], formats: Formats, steps) -> Emission:
    """Stages two and three. rows: of the program's states.

    The scale of an exact state is what its updates need. What they read hardly depends on it, so one repetition settles most of them;
    where one exact state follows from others, theirs come first.
    """
    plan = planned(program, rows, frozenset(formats.states), formats.rounded, formats.weights)
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


class _Emitter:
    def __init__(self, program, plan, formats, scales, unit):
        self.program, self.plan, self.formats, self.scales, self.unit = program, plan, formats, scales, unit
        inputs = [x for x in program.graph.expressions if x.does(InputArray)]
        self.inputs = tuple(Input(name, x.shape, *formats.data[name]) for name, x in zip(program.input_names, inputs, strict=True))
        self.builder = Builder(self.inputs)
        self.values: dict[Expression, tuple[Fraction, int]] = {}
        self.names = plan.names
        self.rounded: dict[int, tuple[str, str]] = {}
        self.stands_for: dict[int, tuple] = {}
        self.quotient_units: dict[Expression, Fraction] = {}  # value of one unit of a quotient, before its constant was rounded
        self.notes: list[str] = []
        self.squared = frozenset(x.inputs[0] for x in plan.demands.needed if x.does(Dot) and x.inputs[0] is x.inputs[1])
        self.absorbed, self.whole = absorbed(plan.demands), frozenset(program.graph.variances.values())
        self.relations = Relations(self, frozenset(x for row in plan.rows for x in row.feeds))
        self.rooted = rooted(program.graph, plan.rows, plan.demands.needed)
        self.odd = dict.fromkeys(range(len(program.states)), Fraction(1)) | odd_parts(plan.uses) | odd_squares(plan.rows, self.rooted)
        self.units = {p: Fraction(2) ** -scales[p] if p in scales else self._unit(p) for p in range(len(program.states))}
        self.lowered = Lowered(self, plan.rows, plan.uses)
        moved = ((p, state.following, plan.rows[p].feeds) for p, state in enumerate(program.states) if p not in plan.uses)
        self.following = {x: p for p, x, fed in moved if isinstance(x, Expression) and x.does(Combination) and fed and x not in fed}

    def emission(self, steps) -> tuple[Emission, dict[int, int]]:
        """The circuit and what it follows from, and the scales that its exact states need."""
        graph, found = self.program.graph, self.plan.demands
        committed = {p for p, state in enumerate(self.program.states) if state.start is None}
        leaves = [x for x in graph.expressions if x.does(InputArray) or x.does(Param) and x.operation.index in committed]
        for x in dict.fromkeys((*leaves, *found.needed)):  # leaves: also those that nothing reads, for they are committed
            self._emitted(x)
        parameters, needed = self.lowered.parameters()
        if not any(p.updates or p.recurrence for p in parameters):
            self.notes.append(UNMOVED)
        if any(x in self.values for x in graph.masked):
            self.notes.append(f"-{LOWEST} stands for minus infinity, and for numbers as low as -10,000 that a mask puts in; exp makes it 0")
        self.notes += [f"what the program computes in {name} the circuit computes in its own formats" for name in sorted(graph.halves)]
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
            source=tuple(self.builder.lines),
        )
        fed = {x: self.values[x] for row in self.plan.rows for x in row.feeds if x in self.values}
        feeds = {x: (node, factor) for x, (factor, node) in fed.items()}
        stands_for = self.stands_for | {node: (x, factor) for x, (node, factor) in feeds.items()}
        read = {node.operation.index for node in circuit.nodes if isinstance(node.operation, Param | Next)}
        emission = Emission(
            circuit, self.plan.rows, self.rounded, self.unit, self.names, moved, read, self.units, stands_for, feeds, self.rooted
        )
        return emission, needed

    def _tabulated(self, parameters) -> bool:
        """Whether rates, coefficients or keys are those of the steps that were traced."""
        drawn = (node.operation.words for node in self.builder.nodes if isinstance(node.operation, Draw))
        paced = any(isinstance(node.operation, Paced) for node in self.builder.nodes)
        return paced or any(len(table) > 1 for p in parameters for table in p.tables()) or any(len(words) > 2 for words in drawn)

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
        for x in self.plan.rows[p].feeds if isinstance(operation, Next) else ():
            self._emitted(x)  # a sum of many feeds was made after all that reads the state
        reads = [node for node, *_ in self.lowered.moved(p).feeds] if isinstance(operation, Next) else []
        return factor, self.add(operation, reads, leaf.shape, factor, leaf.path + (" after the step" if reads else ""))

    def _emitted(self, x) -> None:
        """See to it that an expression has its node, and whatever it follows from."""
        if x not in self.values:
            for y in x.inputs if x not in self.following else ():
                self._emitted(y)
            with self.builder.at(self.program.graph.lines.get(x, "")):
                self.values[x] = self._narrowed(x, self._emit(x), self.plan.demands)

    def _emit(self, x) -> tuple[Fraction, int]:
        """(factor, node) of an expression whose inputs are emitted."""
        if x in self.following:  # a state after the step: its recurrence has fewer bits than the sum that the source writes
            return self.state(Next(self.following[x]))
        values = [self.values[y] for y in x.inputs]
        rule = EMITTED.get(type(x.operation), _Emitter._as_it_is)
        return rule(self, x, [f for f, _ in values], [n for _, n in values], self.names.label(x))

    def _input(self, x, factors, nodes, label):
        factor = Fraction(1, 2 ** self.inputs[x.operation.index].scale)
        return factor, self.add(x.operation, nodes, x.shape, factor, label)

    def _numbers(self, x, factors, nodes, label):
        factor, integers = self._integers(x.operation.values, "constants", CONSTANT_BITS)
        return factor, self.add(Const(x.shape, integers), nodes, x.shape, factor, label)

    def _combination(self, x, factors, nodes, label):
        coefficients = list(x.operation.coefficients)
        for k, c in enumerate(coefficients):  # numbers of the step
            if isinstance(c, Series):
                numbers, coefficients[k] = paced(c, PACE_TOLERANCE)
                nodes[k] = self.add(Paced(numbers), [nodes[k]], x.shape, factors[k] * coefficients[k], label)
        if x.is_scaling:
            return coefficients[0] * factors[0], nodes[0]
        coefficients = [c * f for c, f in zip(coefficients, factors, strict=True)]
        nodes, coefficients = self._without_lost(x, nodes, coefficients, label)
        if len(nodes) == 1:
            return coefficients[0], nodes[0]
        factor, integers = self._integers(coefficients, label, ALIGNED_BITS)
        return factor, self.add(Linear(integers), nodes, x.shape, factor, label)

    def _without_lost(self, x, nodes: list, coefficients: list, label: str) -> tuple[list, list]:
        """Without constants that are nothing beside an integer 1 of the others, such as what keeps a mean from 0."""
        numbers = [constant(y) for y in x.inputs]
        least = min((abs(c) for c, v in zip(coefficients, numbers, strict=True) if v is None), default=Fraction(0))
        kept = []
        for k, (c, v) in enumerate(zip(x.operation.coefficients, numbers, strict=True)):
            lost = v is not None and not isinstance(c, Series) and abs(c * v) < least / LOST
            if lost:
                self.notes.append(f"{label}: the constant {float(c * v):.3g} is left out: it is far below the integers that it is added to")
            kept += [] if lost else [k]
        return [nodes[k] for k in kept], [coefficients[k] for k in kept]

    def _concatenate(self, x, factors, nodes, label):
        factor, integers = self._integers(factors, label, ALIGNED_BITS)
        nodes = [self.times(c, n, factor, label) for c, n in zip(integers, nodes, strict=True)]
        return factor, self.add(x.operation, nodes, x.shape, factor, label)

    def _above(self, x, factors, nodes, label):
        return Fraction(1), self.add(Sign(), nodes, x.shape, Fraction(1), label)

    def _gate(self, x, factors, nodes, label):
        """Of what was rounded up, 2 y - 1 in half units: as near as the nearest integer is."""
        factor, gate = self._as_it_is(x, factors, nodes, label)
        rounded = self.builder.nodes[nodes[1]].operation
        if not isinstance(rounded, Ceiling) or not rounded.shift:
            return factor, gate
        return factor / 2, self.add(Linear((2, -1)), [gate, nodes[0]], x.shape, factor / 2, label)

    def _as_it_is(self, x, factors, nodes, label):
        """A sum, a product, a move: the factors of what it reads multiply."""
        factor = math.prod(factors, start=Fraction(1))
        return factor, self.add(x.operation, nodes, x.shape, factor, label)

    def add(self, operation: Operation, inputs, shape, factor, label) -> int:
        return self.builder.add(operation, tuple(inputs), shape, factor, label)

    def times(self, c: int, node: int, factor: Fraction, label: str) -> int:
        if c == 1:
            return node
        return self.add(Linear((c,)), [node], self.builder.nodes[node].shape, factor, label)

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

    def _as_quotient(self, x, value) -> tuple[Fraction, int]:
        """What everybody reads rounded: a rescale, or, where nothing is to be rounded and no gate reads it, a range."""
        factor, node = value
        operation = self.builder.nodes[node].operation
        if factor > 0 and isinstance(operation, Rescale if x in self.plan.demands.gated else Site):
            return value
        return self.rescaled(x, factor, node)

    def _narrowed(self, x, value, demands: Demands) -> tuple[Fraction, int]:
        """``value``, through a rescale if x is demanded narrow and is not so already."""
        factor, node = value
        if x in demands.quotients:
            return self._as_quotient(x, value)
        if x not in demands.narrow or self._is_operand(x, factor, node):
            return value
        return self.rescaled(x, factor, node)

    def kind(self, x) -> str:
        """Of its default format."""
        quotient = "ratio" if x in self.relations.feeds else "quotient"
        for kind, operation in (("function", Applied), (quotient, Ratio), ("root", SquareRoot), ("weight", Param)):
            if x.does(operation):
                return kind
        if x.tagged:
            return "moment" if x in self.squared else "slope" if x in self.plan.demands.sites else "gradient"
        return "site" if x in self.plan.demands.sites else "normalised" if x in self.program.graph.normalised else "activation"

    def of(self, x) -> tuple[Fraction, int]:
        """The format of x: value of its unit, and bits."""
        scale, bits = self.formats.of(self.names.of[x], self.kind(x))
        return (self.unit if x.tagged else Fraction(1)) / self.absorbed.get(x, 1) * Fraction(2) ** -scale, bits

    def _is_operand(self, x, factor: Fraction, node: int) -> bool:
        """Whether a node may be read by a product as it is: committed tensors within the format, or weights.

        A constant such as 1/3 is better absorbed by a rescale than carried on into the rounding of a learning rate.
        """
        unit, bits = self.of(x)
        reach, bound, whole = self.builder.reach[node], self.builder.bounds[node], x in self.whole
        rounded = x.does(Param) and self.program.states[x.operation.index].leaf.path in self.formats.weights
        if abs(odd(factor / unit)) != 1 and not whole or rounded:
            return False
        return are_weights(x) or "dot" not in reach and bound is not None and bound <= (WHOLE if whole else 2**bits)

    def rescaled(self, x, factor: Fraction, node: int) -> tuple[Fraction, int]:
        """``factor * node`` in the format of x: node * n >> shift, where n * 2^-shift is the factor in units of the format.

        A constant n of ``CONSTANT_BITS`` bits on a wide value would cost its bits in every bound, so a value that depends on
        parameters is rounded to the format's bits first, and once more after n: two small errors instead of bits. The constants of masked
        tensors are rounded to ``MASKED_BITS``: every layer with dropout has one, and so few bits cost no cell.
        """
        unit, bits = self.of(x)
        label, few = self.names.of[x], x in self.absorbed
        digits = MASKED_BITS if few else CONSTANT_BITS
        n, shift = dyadic(factor / unit, digits)
        if shift <= 0:  # already as coarse as the format: the quotient is the integer itself
            shift, n, unit = 0, 1 if factor > 0 else -1, abs(factor)
        elif (error := abs(Fraction(n, 2**shift) * unit / factor - 1)) > 0:
            self.notes.append(f"{label}: constant rounded to {digits} bits (relative error {float(error):.1e})")
        elif shift == abs(n) == 1 and {Gate.ends, Sign.ends} <= self.builder.reach[node]:  # halves of ReLUs, all rounded upwards
            shift, unit, bits = 0, unit / 2, bits + 1
        self.quotient_units[x] = factor * Fraction(2**shift, n)
        bound, last = self.builder.bounds[node], n.bit_length()
        if abs(n) > 1 and shift > last and not few and (bound is None or (bound * abs(n)).bit_length() > PLAIN_BITS):
            node = self.quotient(x, node, shift - last, bits, unit * Fraction(n, 2**last), f"{label} before its constant")
            shift = last
        return unit, self.quotient(x, self.times(n, node, unit / 2**shift, label), shift, bits, unit, label)

    def quotient(self, x, node: int, shift: int, bits: int, unit: Fraction, label: str) -> int:
        if shift > MAX_SHIFT:
            raise PrecisionError(
                f"{label}: its format drops {shift} bits, more than {MAX_SHIFT}; the learning rate or a constant of the loss is too small"
            )
        rounding = Ceiling if x in self.plan.demands.rectified else Rescale
        quotient = self.add(rounding(shift=shift, bits=bits), [node], x.shape, unit, label)
        self.rounded[quotient] = self.names.of[x], self.kind(x)
        self.stands_for[quotient] = x, unit
        return quotient

    def _loss(self, output: str, c: Fraction, leaf, gradient) -> Loss:
        """One summand of an output, exact: the traced one, or the quadratic form of the narrow output gradient."""
        self.builder.line = self.program.graph.lines.get(leaf, "")
        if gradient is not None:
            factor, node = self.values[gradient]
            unit, (k, _) = self.quotient_units.get(gradient, factor), scaling(gradient)
            axes = tuple(range(len(gradient.shape)))
            form = self.add(Dot(contract=(axes, axes), batch=((), ())), [node, node], (), factor * factor, output)
            return Loss(form, c * (unit / k) ** 2, output)
        factor, node = self.values[leaf]
        if leaf.does(Dot) and leaf.operation.batch[0]:  # entry by entry: contract instead of summing afterwards
            values = [self.values[y][1] for y in leaf.inputs]
            axes = tuple(a + b for a, b in zip(leaf.operation.contract, leaf.operation.batch, strict=True))
            free = [len(y.shape) - len(a) for y, a in zip(leaf.inputs, axes, strict=True)]
            if not any(free):
                return Loss(self.add(Dot(contract=axes, batch=((), ())), values, (), factor, output), c * factor, output)
        if leaf.shape:
            node = self.add(Sum(tuple(range(len(leaf.shape)))), [node], (), factor, output)
        return Loss(node, c * factor, output)


# How an expression becomes a node, where it is not the same operation with other factors.
EMITTED = {
    InputArray: _Emitter._input,
    Param: lambda emitter, x, *_: emitter.state(x.operation),
    Numbers: _Emitter._numbers,
    Combination: _Emitter._combination,
    Concatenate: _Emitter._concatenate,
    Above: _Emitter._above,
    Gate: _Emitter._gate,
    Applied: lambda emitter, *x: emitter.relations.applied(*x),
    Picked: lambda emitter, *x: emitter.relations.picked(*x),
    Maximum: lambda emitter, *x: emitter.relations.maximum(*x),
    FirstPlace: lambda emitter, *x: emitter.relations.first(*x),
    Ratio: lambda emitter, *x: emitter.relations.ratio(*x),
    SquareRoot: lambda emitter, *x: emitter.relations.root(*x),
}
