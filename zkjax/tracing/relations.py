"""Relations: functions, one-hots, maxima, quotients and roots as integer nodes, which lookups prove.

A function rides on a rescale or range of what it is of, its *site*. What has a bound that depends on no parameter gets a range for it:
so a softmax cannot leave its table.
"""

import math
from fractions import Fraction

from ..algebra import functions
from ..errors import FormatError, PrecisionError
from ..ops.arithmetic import Linear, Sum
from ..ops.division import Divide, width
from ..ops.functions import MAX_SIZE, MAX_WIDTH, OneHot, Range, Site, TableFunction
from ..ops.leaves import Const
from ..ops.maximum import First, Largest
from ..ops.moves import Broadcast, Reshape, Slice
from ..ops.paced import Paced
from ..ops.products import Dot, entrywise
from ..ops.root import MAX_ROOT, Root
from . import digits
from .constants import CONSTANT_BITS
from .expressions import Expression, Picked, scaling, unmoved
from .formats import MAX_BITS
from .functions import is_one_or_nothing
from .intervals import are_integers, interval
from .quotients import square_root
from .rationals import dyadic, log2
from .series import Series, values

MAX_DIVISOR = 2**46
ROOT_BITS = 14  # of the root of an integer 1
# Of a table whose functions are of what has a bound, and at most, where so many entries are looked up that a longer table costs less than
# their rounding does.
SITE_BITS, LONG_SITE_BITS = 14, 17
LEAST_BITS = 4  # of the least quotient by a sum, where that has a bound
MUCH = 6  # bits by which what has a bound may be coarser than its format
MANY = 4  # units of what is added to a divisor, above which a step has its own number of them
PLAIN_SITE = 40  # bits of a bound that says more of a tensor's size than a format does


class Relations:
    """Of one emission. emitter: ``lowering._Emitter``; feeds: the tensors that feed states."""

    def __init__(self, emitter, feeds: frozenset[Expression]):
        self.emitter, self.feeds = emitter, feeds
        self.sites: dict[Expression, tuple[Fraction, int, int]] = {}
        picked = (x.inputs[0] for x in emitter.plan.demands.needed if x.does(Picked))
        self.indices = frozenset(x for x in picked if are_integers(emitter.program.graph, x))  # which no table may round

    def applied(self, x, factors, nodes, label):
        scale = 0 if is_one_or_nothing(x) else self.emitter.formats.of(self.emitter.names.of[x], "function").scale
        factor = Fraction(2) ** -scale
        try:
            node = self._riding(x.operation.program, lambda *site: TableFunction(*site, scale), x.inputs[0], x.shape, factor, label)
        except FormatError as error:
            raise PrecisionError(f"{label}: {error}; give it another scale, or its input another format (Precision.tensors)") from None
        self.emitter.rounded[node], self.emitter.stands_for[node] = (self.emitter.names.of[x], "function"), (x, factor)
        return factor, node

    def picked(self, x, factors, nodes, label):
        program, size = x.operation.program, x.operation.size
        if size > MAX_SIZE:
            return Fraction(1), self._by_digits(x, label)
        return Fraction(1), self._riding(program, lambda *site: OneHot(*site, size), x.inputs[0], x.shape, Fraction(1), label)

    def _by_digits(self, x, label: str) -> int:
        """The node of a one-hot that is the product of those of two digits."""
        add, one, (base,), hots = self.emitter.add, Fraction(1), x.inputs, []
        lengths = digits.lengths(x.operation.size)
        for program, length in zip(digits.digits(x.operation.program, x.operation.size), lengths, strict=True):
            digit = self._riding(program, lambda *site: TableFunction(*site, 0), base, base.shape, one, f"digit of {label}")
            low, high = self.emitter.builder.nodes[digit].operation.limits()
            span = low, max(1, (high - low - 1).bit_length())
            site = add(Range(*span), [digit], base.shape, one, f"digit of {label}")
            hot = OneHot(functions.IDENTITY, (1, 1), *span, length)
            hots.append(add(hot, [site], (*base.shape, length), one, f"digit's {label}"))
        axes = tuple(range(len(base.shape)))
        product = add(Dot(((), ()), (axes, axes)), hots, (*base.shape, *lengths), one, label)
        flat = (*base.shape, math.prod(lengths))
        node = add(Reshape(flat), [product], flat, one, label)
        return node if flat == x.shape else add(Slice((0,) * len(flat), x.shape, (1,) * len(flat)), [node], x.shape, one, label)

    def _riding(self, program, make, base, shape, factor: Fraction, label: str) -> int:
        """The node of a function of ``base``; make: from program, unit, low and width."""
        unit, node, offset = self.site(base)
        if offset:
            program = functions.after(program, functions.joined("add", functions.IDENTITY, functions.number(offset * unit)))
        operation = make(program, (unit.numerator, unit.denominator), *self.emitter.builder.nodes[node].operation.span())
        return self.emitter.add(operation, [node], shape, factor, label)

    def maximum(self, x, factors, nodes, label):
        return self._largest(x.inputs[0], label)

    def first(self, x, factors, nodes, label):
        _, largest = self._largest(x.inputs[0], f"maximum of {self.emitter.names.label(x.inputs[0])}")
        return Fraction(1), self.emitter.add(First(), [largest, self.site(x.inputs[0])[1]], x.shape, Fraction(1), label)

    def _largest(self, of, label: str) -> tuple[Fraction, int]:
        factor, node, _ = self.site(of)
        span = self.emitter.builder.nodes[node].operation.span()
        return factor, self.emitter.add(Largest(*span), [node], of.shape[:-1], factor, label)

    def ratio(self, x, factors, nodes, label):
        """In a unit that is a power of two: the rest of the factors multiplies the dividend, or the divisor where the quotient is too fine.

        What feeds a state keeps the rest in its unit, so that the divisor stays narrow.
        """
        _, high = interval(self.emitter.program.graph, x)
        scale, bits = self.emitter.formats.of(self.emitter.names.of[x], self.emitter.kind(x))
        if high < math.inf:
            whole, least = math.ceil(math.log2(high) - 2.0**-20), self._least_quotient(x)
            finer = bits - 2 - whole
            if least:  # however small it is at first, there is room for what it becomes
                scale = min(max(scale, finer, LEAST_BITS - math.floor(math.log2(least))), MAX_BITS - 1 - whole)
                bits = scale + 1 + whole
            elif finer >= scale:  # no room for what is larger later
                scale, bits = finer, bits - 1
        share = factors[0] / factors[1]
        if x in self.feeds:  # of a state, whose coefficients take over what no power of two is
            j = -scale - log2(abs(share))
            n, unit = 1 if share > 0 else -1, abs(share) * Fraction(2) ** j
        else:
            unit = Fraction(2) ** -scale
            n, j = dyadic(share / unit, CONSTANT_BITS)
        times, finer = n << max(0, -j), 1 << max(0, j)
        dividend = self.emitter.times(times, nodes[0], factors[0] / times, label)
        (low, _), least = interval(self.emitter.program.graph, x.inputs[1]), x.operation.least
        if least == 0 and 0 < low < factors[1]:  # what the source divides by is above 0, and may be rounded to 0
            least = Fraction(low)
        divisor = self._at_least(x, nodes[1], factors[1], finer, least, finer, label)
        found, below = self.emitter.builder.bounds[divisor], self.emitter.builder.nodes[nodes[1]].operation
        if found is not None and isinstance(below, Root):  # a lookup shows a bit less of a root than training holds it to
            found = min(found, 1 << (below.size - 1 + max(0, j)))
        if found is None or found > MAX_DIVISOR:
            bound = "anything" if found is None else f"2^{math.log2(found):.0f}"
            raise PrecisionError(f"{label}: the divisor may reach {bound}; use coarser formats")
        quotient = self.emitter.add(Divide(bits, width(found)), (dividend, divisor), x.shape, unit, label)
        self._product(divisor, quotient, x.shape, unit * factors[1], f"{label} times its divisor")
        self.emitter.rounded[quotient], self.emitter.stands_for[quotient] = (self.emitter.names.of[x], self.emitter.kind(x)), (x, unit)
        return unit, quotient

    def _least_quotient(self, x) -> float:
        """What a quotient by a sum is at least, such as 1 over one of 50,000 exps; 0 where that is not known, and of others."""
        (low, _), (_, high) = (interval(self.emitter.program.graph, y) for y in x.inputs)
        return low / high if 0 < low and 0 < high < math.inf and unmoved(scaling(x.inputs[1])[1]).does(Sum) else 0.0

    def root(self, x, factors, nodes, label):
        """Of an integer times a power of four, so that the root is as fine as its format."""
        scale, bits = self.emitter.formats.of(self.emitter.names.of[x], "root")
        least = x.operation.least
        most = ROOT_BITS + max(0, log2(factors[0] / least) // 2 + 1 if least else 0)  # with which the root of the least number is that fine
        k = min(scale + -(-log2(factors[0]) // 2), most)
        k, bits = max(0, k), min(MAX_ROOT - 1, bits + max(0, -k))  # of what is finer already, a root with more bits
        under = self._at_least(x, nodes[0], factors[0], 4**k, least, 1, label)
        unit = square_root(factors[0]) / 2**k
        node = self.emitter.add(Root(bits + 1), [under], x.shape, unit, label)
        self._product(node, node, x.shape, factors[0] / 4**k, f"{label} squared")
        self.emitter.rounded[node], self.emitter.stands_for[node] = (self.emitter.names.of[x], "root"), (x, unit)
        return unit, node

    def _at_least(self, x, node: int, factor: Fraction, times: int, least: Fraction | Series, fewest: int, label: str) -> int:
        """times * node, plus a constant above 0, which is ``fewest`` units of that at least; the largest of a step where all are few."""
        if least == 0:
            return self.emitter.times(times, node, factor / times, label)
        ones, numbers = self._ones(x.shape), tuple(max(fewest, round(v / factor * times)) for v in values(least))
        if max(numbers) > MANY and min(numbers) < max(numbers):
            ones, numbers = self.emitter.add(Paced(numbers), [ones], x.shape, factor / times, label), (1,)
        return self.emitter.add(Linear((times, max(numbers))), [node, ones], x.shape, factor / times, label)

    def _ones(self, shape) -> int:
        one = self.emitter.add(Const((), (1,)), [], (), Fraction(1), "one")
        return self.emitter.add(Broadcast(shape, ()), [one], shape, Fraction(1), "ones") if shape else one

    def _product(self, left: int, right: int, shape, factor: Fraction, label: str) -> int:
        return self.emitter.add(entrywise(shape), (left, right), shape, factor, label)

    def site(self, x) -> tuple[Fraction, int, int]:
        """(value of an integer 1, node, offset): a rescale or range whose integers, with the offset added, are those of x.

        What has a bound that depends on no parameter gets ``SITE_BITS`` bits for it, of one sign, if that is known, at no cost; then more
        where its format has more.
        """
        if x not in self.sites:
            self.sites[x] = self._new_site(x)
        return self.sites[x]

    def _new_site(self, x) -> tuple[Fraction, int, int]:
        factor, node = self.emitter.values[x]
        if isinstance(self.emitter.builder.nodes[node].operation, Site) and factor > 0:
            return factor, node, 0
        low, high = interval(self.emitter.program.graph, x)
        index = factor == 1 and x in self.indices
        c, x = (Fraction(1), x) if x in self.emitter.names.of else scaling(x)  # of a multiple, what it is of is rounded
        bound, label, unit = self.emitter.builder.bounds[node], self.emitter.names.of[x], abs(c) * self.emitter.of(x)[0]
        if factor < 0:
            factor, node = -factor, self.emitter.times(-1, node, -factor, label)
        one_sided = low >= 0 or high <= 0  # then the bound itself may be met, as by the sum of the exps of equal numbers
        most = 1 if bound is None else max(1, (bound - (not one_sided)).bit_length())
        coarsest = unit if x.tagged else unit * 2**MUCH  # the bounds of gradients say little of their size, and those of exps of some
        far = factor * 2 ** (most + 1 - SITE_BITS) > coarsest
        if index and most >= MAX_WIDTH:
            raise PrecisionError(
                f"{label}: an index of {most + 1} bits, and tables have {MAX_WIDTH}; give the integers that it follows from fewer bits "
                "(Precision.tensors)"
            )
        if bound is None or factor < unit and (far or bound.bit_length() > PLAIN_SITE):
            return *self.emitter.rescaled(x, factor, node), 0
        looked_up = math.prod(x.shape) * self.emitter.formats.period
        if index or most <= max(SITE_BITS, min(LONG_SITE_BITS, looked_up.bit_length() - 1)):
            least, width = (0, most) if low >= 0 else (1 - (1 << most), most) if high <= 0 else (-(1 << most), most + 1)
            return factor, self.emitter.add(Range(least, width), [node], x.shape, factor, label), 0
        shift, bits = most + 1 - SITE_BITS, SITE_BITS - 1
        if not one_sided:
            return factor * 2**shift, self.emitter.quotient(x, node, shift, bits, factor * 2**shift, label), 0
        wanted = math.ceil(math.log2(factor * 2 ** (shift - 1) / unit) - 2.0**-20)  # bits by which its format is finer
        finer = 0 if x.tagged else max(0, min(wanted, self.emitter.of(x)[1] - bits, shift - 1))
        shift, bits = shift - 1 - finer, bits + finer
        unit, middle = factor * 2**shift, 1 << bits if low >= 0 else 1 - (1 << bits)  # it becomes 0, and half of the range is not wasted
        node = self.emitter.add(Linear((1, -(middle << shift))), [node, self._ones(x.shape)], x.shape, factor, label)
        quotient = self.emitter.quotient(x, node, shift, bits, unit, label)
        if not x.tagged:
            self.emitter.rounded[quotient] = label, "bounded"
        return unit, quotient, middle
