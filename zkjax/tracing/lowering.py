"""Lowering: expressions to the integer nodes of a circuit.

Operands of products are *demanded* narrow; a demand belongs to the tensor, so every reader of a tensor reads the same
narrow value. Then expressions are emitted as integer nodes, each with a rational factor: value = factor * integer. All
constants move into the factor, where they cost nothing, and leave it in three places: as powers of two in the shift of a
rescale; exactly in the factor of the loss; and what is not a power of two, the learning rate's part of it included, in one
rounded constant for each tensor that needs one, once it is narrow (``_Emitter._rescaled``). So gradients come in a *unit*
in which the largest learning rate is a power of two, and parameters need no bit for the rest of it.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ..circuit.circuit import Circuit
from ..circuit.parts import Input, Loss, Parameter, Update
from ..errors import PrecisionError, UnsupportedOperationError
from ..ops import BY_NAME
from ..ops.arithmetic import Linear, Scale, Sum
from ..ops.leaves import Const, InputArray, Param
from ..ops.moves import Broadcast, Concatenate
from ..ops.operation import Leaves, Node, Operation
from ..ops.products import Dot, Gate
from ..ops.rescale import Rescale, Sign
from .expressions import CONSTANT_BITS, Expression, Known, Program, scaling
from .formats import Formats

ALIGNED_BITS = 16  # significant bits of a coefficient in a sum
MAX_WEIGHT_SCALE = MAX_SHIFT = 62
UNMOVED = "no parameter is updated: every learning rate or every gradient is 0"
RATE_BITS = 3  # of a learning rate that stays one
PLAIN_BITS = 60  # a value within this many bits, its constant included, is multiplied by the constant as it is


# ---- narrow on demand ------------------------------------------------------------------------------------------------

_MOVES = ("transpose", "reshape", "broadcast", "slice", "pad", "concatenate", "reverse")


def _rounded_rates(rates: tuple[Fraction, ...], tolerance: Fraction) -> tuple[tuple[int, ...], int]:
    """Integers n and the least b >= 0 with n_t * 2^-b within ``tolerance`` of every rate. Short dyadic rates stay exact.

    In a table, a rate below a sixteenth of the largest may be off by ``tolerance`` of that sixteenth: a cosine's last
    steps would otherwise cost bits that every step pays for.
    """
    if all(r.denominator & (r.denominator - 1) == 0 and abs(r.numerator).bit_length() <= 8 for r in rates):
        b = max(r.denominator.bit_length() - 1 for r in rates)
        return tuple(int(r * 2**b) for r in rates), b
    floor = max(abs(r) for r in rates) / 16
    for b in range(62):
        n = tuple(math.floor(r * 2**b + Fraction(1, 2)) for r in rates)
        if all(abs(Fraction(v, 2**b) - r) <= tolerance * max(abs(r), floor) for v, r in zip(n, rates, strict=True)):
            return n, b
    raise PrecisionError(f"the learning rate {float(rates[0])} cannot be written as n * 2^-b; raise Precision.rate_tolerance")


def gradient_unit(rates) -> Fraction:
    """u in [1, 2) with which the largest of all rates, times u, is a power of two; 1 where all rates are short binary fractions.

    Gradients are integers times u * 2^-scale, and the rest of the rate is in the constant of the rescale that makes them:
    written as n * 2^-b instead, the bits of n would be bits of every parameter, and chains would be shorter for it. A few
    bits are worth it, for they spare that rescale.
    """
    if all(_odd(r).denominator == 1 and abs(_odd(r).numerator).bit_length() <= RATE_BITS for table in rates for r in table if r):
        return Fraction(1)
    largest = max((abs(r) for table in rates for r in table), default=Fraction(0))
    if not largest:
        return Fraction(1)
    u = 1 / largest
    return u * Fraction(2) ** -_log2(u)


@dataclass(frozen=True)
class _Demands:
    """narrow: expressions that some product reads. quotients: those that must be a rescale themselves, for a sign or gate."""

    narrow: frozenset
    quotients: frozenset
    needed: tuple
    losses: tuple  # (coefficient, scalar leaf expression, gradient whose quadratic form stands for it or None)


def _demands(program: Program, trained) -> _Demands:
    """The least set of rescaled tensors with which every product reads narrow operands."""
    narrow, quotients, seen = set(), set(), set()

    def demand(x):
        if x.op in _MOVES:
            for y in x.inputs:
                demand(y)
        elif x.op not in ("input", "param", "const", "mask", "gate"):
            narrow.add(x)

    def visit(x):
        stack = [x]
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if x.op == "dot":
                for y in x.inputs:
                    demand(y)
            elif x.op in ("mask", "gate"):
                quotients.add(x.inputs[-1])
            stack.extend(x.inputs)

    for x in trained:
        visit(x)
    losses = []
    scalings = {}  # residual r to its narrow gradient c * r
    for x in sorted(narrow, key=lambda x: x.index):
        c, base = scaling(x)
        if base is not x and x.tagged and not base.tagged:
            scalings.setdefault(base, x)
    for c, leaf in _loss_leaves(program.graph, program.loss):
        residual = _squared(leaf)
        if residual is not None and residual not in narrow and residual in scalings:
            losses.append((c, leaf, scalings[residual]))
        else:
            losses.append((c, leaf, None))
            visit(leaf)
    needed = tuple(sorted(seen, key=lambda x: x.index))
    return _Demands(frozenset(narrow), frozenset(quotients), needed, tuple(losses))


def _loss_leaves(graph, loss) -> list:
    """The loss as a sum of (rational, expression whose entries are summed)."""
    leaves: dict = {}

    def total(c, x):
        if x.op == "linear":
            for k, y in zip(x.attributes, x.inputs, strict=True):
                total(c * k, y)
        elif x.op in ("sum", "reshape", "transpose", "reverse"):
            total(c, x.inputs[0])
        else:
            leaves[x] = leaves.get(x, 0) + c

    total(Fraction(1), graph.tensor(loss))
    return [(c, x) for x, c in leaves.items() if c]


def _squared(x):
    """r if the entries of x sum up to <r, r>, else None."""
    if x.op != "dot" or x.inputs[0] is not x.inputs[1]:
        return None
    (cx, cy), (bx, by) = x.attributes
    return x.inputs[0] if (cx, bx) == (cy, by) and len(cx) + len(bx) == len(x.inputs[0].shape) else None


# ---- emission --------------------------------------------------------------------------------------------------------


class _Builder:
    """Nodes of the circuit, each with a bound (None: depends on a parameter) and the kinds of tensors on which claims on it end."""

    def __init__(self, inputs: tuple[Input, ...]):
        self.leaves, self.nodes, self.bounds, self.reach, self._made = Leaves(inputs, ()), [], [], [], {}

    def add(self, operation: Operation, inputs, shape, factor: Fraction, label: str) -> int:
        key = operation, tuple(inputs), tuple(shape)
        if key in self._made:
            return self._made[key]
        self.nodes.append(Node(operation, tuple(inputs), tuple(shape), _valuation(factor), label))
        shapes = [self.nodes[i].shape for i in inputs]
        self.bounds.append(operation.bound([self.bounds[i] for i in inputs], shapes, self.leaves))
        below = (self.reach[i] for i in operation.below(tuple(inputs)))
        self.reach.append(frozenset().union(*below) if operation.ends is None else frozenset([operation.ends]))
        self._made[key] = len(self.nodes) - 1
        return self._made[key]


def _valuation(factor: Fraction) -> int:
    """The s with factor = 2^-s * odd / odd."""
    return (factor.denominator & -factor.denominator).bit_length() - (factor.numerator & -factor.numerator).bit_length()


def _log2(value: Fraction) -> int:
    """The e with 2^e <= value < 2^(e+1), value > 0."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if value >= Fraction(2) ** e else e - 1


def _odd(value: Fraction) -> Fraction:
    """What is left of a value without its powers of two."""
    return value * Fraction(2) ** _valuation(value)


def _dyadic(value: Fraction, bits: int) -> tuple[int, int]:
    """(n, s), n odd, with value = n * 2^-s, exactly if n has at most ``bits`` bits, else rounded to that many."""
    s, odd = _valuation(value), _odd(value)
    if odd.denominator == 1 and abs(odd.numerator).bit_length() <= bits:
        return odd.numerator, s
    k = bits - 1 - _log2(abs(odd))
    n = math.floor(odd * Fraction(2) ** k + Fraction(1, 2))
    zeros = (n & -n).bit_length() - 1
    return n >> zeros, s + k - zeros


def emit(program: Program, rates, leaves, formats: Formats, steps) -> tuple[Circuit, dict[int, bool]]:
    """Stages two and three. Returns the circuit (of the widest table) and, for each rescale, whether it is a gradient.

    The weight scale is what the updates need; their nodes do not depend on it, except through the alignment of sums, so
    one repetition settles it.
    """
    weight_scale = formats.activation_scale + formats.gradient_scale
    for _ in range(4):
        if weight_scale > MAX_WEIGHT_SCALE:
            least = min(abs(r) for table in rates for r in table if r)
            raise PrecisionError(
                f"a learning rate of {float(least):.6g} needs parameters with {weight_scale} bits after the point, beyond "
                f"{MAX_WEIGHT_SCALE}; use a larger rate, or a smaller Precision.activation_scale or gradient_scale"
            )
        emitter = _Emitter(program, leaves, formats, weight_scale, gradient_unit(rates))
        circuit, needed = emitter.circuit(rates, steps)
        if needed == weight_scale:
            return circuit, emitter.kinds
        weight_scale = needed
    raise PrecisionError(f"no weight scale fits all updates (the last two tried: {weight_scale}, {needed}); use dyadic learning rates")


class _Emitter:
    def __init__(self, program, leaves, formats, weight_scale, unit):
        self.program, self.leaves, self.formats, self.weight_scale, self.unit = program, leaves, formats, weight_scale, unit
        inputs = [x for x in program.graph.expressions if x.op == "input"]
        self.inputs = tuple(
            Input(name, x.shape, formats.activation_scale, bits)
            for name, x, bits in zip(program.input_names, inputs, formats.data_bits, strict=True)
        )
        self.builder = _Builder(self.inputs)
        self.values: dict[Expression, tuple[Fraction, int]] = {}
        self.labels = dict(program.graph.labels)
        self.kinds: dict[int, bool] = {}
        self.units: dict[Expression, Fraction] = {}  # value of one unit of a quotient, before its constant was rounded
        self.notes: list[str] = []

    def circuit(self, rates, steps) -> tuple[Circuit, int]:
        graph = self.program.graph
        trained = [
            None if rate == (0,) or isinstance(g, Known) and g.scalar == 0 else graph.tensor(g)
            for g, rate in zip(self.program.gradients, rates, strict=True)
        ]
        demands = _demands(self.program, [g for g in trained if g is not None])
        for g, leaf in zip(trained, self.leaves, strict=True):
            for _, x in _terms(g) if g is not None else ():
                self.labels.setdefault(x, f"{leaf.path} gradient")
        leaves = [x for x in graph.expressions if x.op in ("input", "param")]  # also those that nothing reads: they are committed
        for x in dict.fromkeys((*leaves, *demands.needed)):
            self.values[x] = self._narrowed(x, self._emit(x), demands)
        parameters, needed = self._updates(trained, rates)
        if not any(p.updates for p in parameters):
            self.notes.append(UNMOVED)
        losses = tuple(self._loss(*loss) for loss in demands.losses)
        circuit = Circuit(
            nodes=tuple(self.builder.nodes),
            inputs=self.inputs,
            parameters=parameters,
            losses=losses,
            weight_scale=self.weight_scale,
            table_bits=20,
            max_steps=steps if any(len(u.rates) > 1 for p in parameters for u in p.updates) else None,
            notes=tuple(dict.fromkeys((*self.formats.notes, *self.notes))),
        )
        return circuit, needed

    def _label(self, x) -> str:
        if x not in self.labels:
            if x.op == "dot":
                owners = [o for o in map(_owner, x.inputs) if o is not None]
                self.labels[x] = f"{self.labels[owners[0]]} {'backward' if x.tagged else 'forward'}" if owners else "product"
            else:
                names = [self._label(y) for y in (x.inputs[-1:] if x.op == "gate" else x.inputs) if y.op != "const"]
                # a sum is named after the product in it: bias and residual are beside the point
                name = next((n for n in names if " " in n), names[0] if names else "constant")
                error = x.tagged and not any(y.tagged for y in x.inputs)  # where the seed enters: prediction - target
                self.labels[x] = name.removesuffix(" forward") + " error" if error else name
        return self.labels[x]

    def _emit(self, x) -> tuple[Fraction, int]:
        """(factor, node) of an expression whose inputs are emitted."""
        label = self._label(x)
        values = [self.values[y] for y in x.inputs]
        nodes, one = [n for _, n in values], Fraction(1)
        if x.op == "input":
            factor = Fraction(1, 2**self.formats.activation_scale)
            return factor, self._add(InputArray(x.attributes[0]), (), x.shape, factor, label)
        if x.op == "param":
            factor = Fraction(1, 2**self.weight_scale)
            return factor, self._add(Param(x.attributes[0]), (), x.shape, factor, label)
        if x.op == "const":
            factor, integers = self._integers(x.attributes, "constants", CONSTANT_BITS)
            return factor, self._add(Const(x.shape, integers), (), x.shape, factor, label)
        if x.op == "linear":
            if len(values) == 1:
                return x.attributes[0] * values[0][0], values[0][1]
            factor, integers = self._integers([c * f for c, (f, _) in zip(x.attributes, values, strict=True)], label, ALIGNED_BITS)
            return factor, self._add(Linear(integers), nodes, x.shape, factor, label)
        if x.op == "concatenate":
            factor, integers = self._integers([f for f, _ in values], label, ALIGNED_BITS)
            nodes = [self._times(c, n, factor, label) for c, n in zip(integers, nodes, strict=True)]
            return factor, self._add(Concatenate(x.attributes[0]), nodes, x.shape, factor, label)
        if x.op == "mask":
            return one, self._add(Sign(), nodes, x.shape, one, label)
        if x.op == "gate":
            factor = values[1][0]
            return factor, self._add(Gate(), nodes, x.shape, factor, label)
        if x.op in ("dot", "scale"):
            factor = values[0][0] * values[1][0]
            return factor, self._add(Dot(*x.attributes) if x.op == "dot" else Scale(x.attributes), nodes, x.shape, factor, label)
        factor, kind = values[0][0], BY_NAME[x.op]  # a move or a sum, whose attributes are the expression's
        if kind is Broadcast:
            operation = Broadcast(shape=x.shape, axes=x.attributes)
        else:
            operation = kind(*(x.attributes if len(kind.names()) > 1 else (x.attributes,)))
        return factor, self._add(operation, nodes, x.shape, factor, label)

    def _add(self, operation: Operation, inputs, shape, factor, label) -> int:
        return self.builder.add(operation, tuple(inputs), shape, factor, label)

    def _times(self, c: int, node: int, factor: Fraction, label: str) -> int:
        if c == 1:
            return node
        return self._add(Linear((c,)), [node], self.builder.nodes[node].shape, factor, label)

    def _integers(self, rationals, label: str, bits: int) -> tuple[Fraction, tuple[int, ...]]:
        """A common factor and integers: exact, unless the integers had more than ``bits`` significant bits."""
        rationals = [Fraction(r) for r in rationals]
        factor = _common(rationals)
        integers = [int(r / factor) for r in rationals]
        if max((v // (v & -v) if v else 0).bit_length() for v in map(abs, integers)) > bits:
            rounded = [Fraction(n) * Fraction(2) ** -s for n, s in (_dyadic(r, bits) if r else (0, 0) for r in rationals)]
            error = max(abs(a - b) / abs(b) for a, b in zip(rounded, rationals, strict=True) if b)
            if error:
                self.notes.append(f"{label}: coefficients rounded to {bits} bits (largest relative error {float(error):.1e})")
            factor = _common(rounded)
            integers = [int(r / factor) for r in rounded]
            if max(map(abs, integers)) >= 2**62:
                low, high = (float(f(map(abs, rationals))) for f in (min, max))
                raise PrecisionError(f"{label}: coefficients {low} and {high} of a sum cannot be aligned; bring them closer together")
        return factor, tuple(integers)

    def _narrowed(self, x, value, demands: _Demands) -> tuple[Fraction, int]:
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
        scale, bits = self.formats.of(x.tagged)
        return (self.unit if x.tagged else Fraction(1)) / 2**scale, bits

    def _is_operand(self, x, factor: Fraction, node: int) -> bool:
        """Whether a node may be read by a product as it is: committed tensors or parameters, within the format.

        A constant such as 1/3 is better absorbed by a rescale than carried on into the rounding of a learning rate.
        """
        unit, bits = self._of(x)
        if abs(_odd(factor / unit)) != 1:
            return False
        reach, bound = self.builder.reach[node], self.builder.bounds[node]
        return "dot" not in reach and ("param" in reach or bound <= 2**bits)

    def _rescaled(self, x, factor: Fraction, node: int) -> tuple[Fraction, int]:
        """``factor * node`` in the format of x: node * n >> shift, where n * 2^-shift is the factor in units of the format.

        A constant n of ``CONSTANT_BITS`` bits on a wide value would cost its bits in every bound, so a value that depends on
        parameters is rounded to the format's bits first, and once more after n: two small errors instead of bits.
        """
        unit, bits = self._of(x)
        label = self._label(x)
        n, shift = _dyadic(factor / unit, CONSTANT_BITS)
        if shift <= 0:  # already as coarse as the format: the quotient is the integer itself
            shift, n, unit = 0, 1 if factor > 0 else -1, abs(factor)
        elif (error := abs(Fraction(n, 2**shift) * unit / factor - 1)) > 0:
            self.notes.append(f"{label}: constant rounded to {CONSTANT_BITS} bits (relative error {float(error):.1e})")
        self.units[x] = factor * Fraction(2**shift, n)
        bound, last = self.builder.bounds[node], n.bit_length()
        if abs(n) > 1 and shift > last and (bound is None or (bound * abs(n)).bit_length() > PLAIN_BITS):
            node = self._quotient(x, node, shift - last, bits, unit * Fraction(2**last, n), f"{label} before its constant")
            shift = last
        return unit, self._quotient(x, self._times(n, node, unit / 2**shift, label), shift, bits, unit, label)

    def _quotient(self, x, node: int, shift: int, bits: int, unit: Fraction, label: str) -> int:
        if shift > MAX_SHIFT:
            raise PrecisionError(
                f"{label}: its format drops {shift} bits, more than {MAX_SHIFT}; the learning rate or a constant of the loss is too small"
            )
        quotient = self._add(Rescale(shift=shift, bits=bits), [node], x.shape, unit, label)
        self.kinds[quotient] = x.tagged
        return quotient

    def _updates(self, trained, rates) -> tuple[tuple[Parameter, ...], int]:
        """The parameters with their integer rates, and the weight scale that these need."""
        uses, needed = [], 0
        for g, rate, leaf in zip(trained, rates, self.leaves, strict=True):
            uses.append([])
            for c, x in _terms(g) if g is not None else ():
                factor, node = self.values[x]
                self._check_update(leaf, node)
                whole = c * factor
                s = _valuation(whole)
                wanted = tuple(r * whole * Fraction(2) ** s for r in rate)
                n, b = _rounded_rates(wanted, self.formats.rate_tolerance)
                if not any(n):
                    continue
                uses[-1].append((node, n, b + s))
                needed = max(needed, b + s)
                self._note_rates(rate, [v * Fraction(2) ** -(b + s) / whole for v in n])
        needed = needed or self.weight_scale

        def update(node, n, b):
            return Update(node, tuple(v * 2 ** max(0, self.weight_scale - b) for v in n))

        parameters = (
            Parameter(leaf.path, leaf.shape, tuple(update(*use) for use in using)) for leaf, using in zip(self.leaves, uses, strict=True)
        )
        return tuple(parameters), needed

    def _check_update(self, leaf, node: int):
        """A parameter stays an exact integer only while its update reads no parameter."""
        nodes, reach, stack = self.builder.nodes, self.builder.reach, [node]
        while stack:
            i = stack.pop()
            operation, inputs = nodes[i].operation, nodes[i].inputs
            if "param" in reach[i] or operation.ends == "dot" and any("param" in reach[j] for j in inputs):
                raise UnsupportedOperationError(
                    f"the update of parameter {leaf.path} depends on a parameter without rounding in between; penalties on weights and "
                    f"products of parameters would have to round a parameter at every step. Leave them out"
                )
            if operation.ends is None:
                stack.extend(operation.below(inputs))

    def _note_rates(self, rates, rounded):
        """rounded: the rates that the integers stand for."""
        errors = [(abs(v / r - 1) if r else Fraction(0), t) for t, (v, r) in enumerate(zip(rounded, rates, strict=True))]
        error, t = max(errors)
        off = f" (largest relative error {float(error):.1e}, at step {t})" if error else " (exact)"
        if len(rates) > 1:
            low, high = (float(f(rounded)) for f in (min, max))
            self.notes.append(f"learning rate: schedule of {len(rates)} steps, {low:.6g} to {high:.6g}{off}")
        elif error:
            self.notes.append(f"learning rate: {float(rates[0]):.6g} as {float(rounded[0]):.6g} (relative error {float(error):.1e})")
        else:
            self.notes.append(f"learning rate: {rates[0]}")

    def _loss(self, c: Fraction, leaf, gradient) -> Loss:
        """One summand of the loss, exact: the traced one, or the quadratic form of the narrow output gradient."""
        if gradient is not None:
            factor, node = self.values[gradient]
            unit, (k, _) = self.units.get(gradient, factor), scaling(gradient)
            axes = tuple(range(len(gradient.shape)))
            form = self._add(Dot(contract=(axes, axes), batch=((), ())), [node, node], (), factor * factor, "loss")
            return Loss(form, c * (unit / k) ** 2)
        factor, node = self.values[leaf]
        if leaf.op == "dot" and leaf.attributes[1][0]:  # entry by entry: contract instead of summing afterwards
            values = [self.values[y][1] for y in leaf.inputs]
            axes = tuple(leaf.attributes[0][i] + leaf.attributes[1][i] for i in range(2))
            free = [len(y.shape) - len(a) for y, a in zip(leaf.inputs, axes, strict=True)]
            if not any(free):
                return Loss(self._add(Dot(contract=axes, batch=((), ())), values, (), factor, "loss"), c * factor)
        if leaf.shape:
            node = self._add(Sum(tuple(range(len(leaf.shape)))), [node], (), factor, "loss")
        return Loss(node, c * factor)


def _terms(x) -> list[tuple[Fraction, Expression]]:
    """The uses of a parameter whose gradient is x."""
    return list(zip(x.attributes, x.inputs, strict=True)) if x.op == "linear" else [(Fraction(1), x)]


def _owner(x):
    """The parameter that x is a moved copy of, or None."""
    while x.op in _MOVES and len(x.inputs) == 1:
        x = x.inputs[0]
    return x if x.op == "param" else None


def _common(rationals) -> Fraction:
    """The greatest rational of which all are integer multiples; 1 for zeros only."""
    denominator = math.lcm(*(r.denominator for r in rationals))
    return Fraction(math.gcd(*(int(r * denominator) for r in rationals)) or denominator, denominator)
