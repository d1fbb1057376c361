"""States in integers: the updates of exact ones, the recurrences of those that a step multiplies, and the formats of the latter.

A state that is multiplied is an integer h times its unit where it is rounded, and has ``inner`` more bits within a period. Its
coefficients are rounded to multiples of 2^-64 here, and the coefficients of a period that follow from them by the verifier.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ..circuit.parts import Given, Parameter, Recurrence, Update
from ..circuit.recurrence import FRACTION
from ..errors import PrecisionError, UnsupportedOperationError
from ..ops.leaves import Next, Param
from .constants import Known
from .motions import Row, Uses
from .precision import StateFormat
from .rationals import gradient_unit, log2, rounded_rates, valuation
from .series import values
from .step import State

RESOLVED = 12  # bits that the largest change of a state in a step has, where it is rounded
USEFUL = 4  # bits that a coefficient has within a period, at least; a period's end corrects what they are off
LASTING = 8  # bits that a coefficient has at a period's end, at least
HEADROOM = 4  # a state's range is this many times the largest value that is expected
EXPECTED = 64  # steps that are looked ahead for that
LARGEST_END = 40  # bits that a period's end drops, at most, where nothing is said
FINEST = Fraction(1, 2**12)  # relative error of a coefficient in units of 2^-64


@dataclass(frozen=True, eq=False)
class Moved:
    """A state that is multiplied, as its format follows from it.

    odd: of its unit what no power of two is. carry: coefficients of states. feeds: (node, the value of its integer 1, coefficient).
    read: whether the step reads it within a period.
    """

    state: State
    odd: Fraction
    carry: dict
    feeds: list
    read: bool


def odd_parts(found: dict[int, Uses]) -> dict[int, Fraction]:
    """Of each state that an exact one reads, the unit's odd part: the largest rate becomes a power of two with it."""
    rates: dict[int, list] = {}
    for use in found.values():
        for r, c in (*use.after.items(), *use.before.items()):
            rates.setdefault(r, []).append(values(c))
    return {r: gradient_unit(tables) for r, tables in rates.items()}


def rate_tables(found: dict[int, Uses]) -> list[tuple[Fraction, ...]]:
    """The rates with which tensors are subtracted from exact states."""
    return [tuple(-v for v in values(c)) for use in found.values() for c in use.feeds.values()]


class Lowered:
    """The states of a circuit, once all tensors that they read are nodes of it.

    emitter: ``values``, of each tensor (the value of its integer 1, node); ``state``, the same of a state before or after a step.
    """

    def __init__(self, emitter, rows: list[Row], found: dict[int, Uses]):
        self.emitter, self.rows, self.found = emitter, rows, found
        self.needed = 0  # bits after the point that exact states have to have

    def parameters(self) -> tuple[tuple[Parameter, ...], int]:
        """The circuit's parameters, and the weight scale that their updates need."""
        e, states = self.emitter, self.emitter.program.states
        subtracted = {p: self._subtracted(use) for p, use in self.found.items()}
        needed = self.needed or e.weight_scale

        def update(node, n, b) -> Update:
            return Update(node, tuple(v * 2 ** max(0, e.weight_scale - b) for v in n))

        result = []
        for p, state in enumerate(states):
            updates = tuple(update(*x) for x in subtracted.get(p, ()))
            recurrence = None if p in self.found else self._recurrence(p)
            result.append(Parameter(state.leaf.path, state.leaf.shape, updates, recurrence, self._given(state, e.units[p])))
        return tuple(result), needed

    def _subtracted(self, use: Uses) -> list[tuple[int, tuple[int, ...], int]]:
        """(node, integers n, bits b): an exact state loses n * 2^-b * node, in units of 1."""
        e, found = self.emitter, []
        terms = [(*e.values[x], c) for x, c in use.feeds.items()]
        terms += [(*e.state(Param(r)), c) for r, c in use.before.items()]
        terms += [(*e.state(Next(r)), c) for r, c in use.after.items()]
        for factor, node, c in terms:
            wanted = tuple(-v * factor for v in values(c))
            s = -log2(max(map(abs, wanted)))
            n, b = rounded_rates(tuple(w * Fraction(2) ** s for w in wanted), e.formats.rate_tolerance)
            if any(n):
                found.append((node, n, b + s))
                self.needed = max(self.needed, b + s)
                e.notes.append(_note(tuple(-v for v in values(c)), [v * Fraction(2) ** -(b + s) / factor for v in n]))
        return found

    def moved(self, p: int) -> Moved:
        """State p, which is multiplied, as its format follows from it."""
        e, row = self.emitter, self.rows[p]
        feeds = [(node, factor, c) for (factor, node), c in ((e.values[x], c) for x, c in row.feeds.items())]
        carry = dict(row.carry)
        for r in sorted(set(carry) & set(self.found)):  # an exact state feeds it
            factor, node = e.state(Param(r))
            feeds.append((node, factor, carry.pop(r)))
        return Moved(e.program.states[p], e.odd[p], carry, feeds, e.reads(p))

    def _recurrence(self, p: int) -> Recurrence:
        e, moved = self.emitter, self.moved(p)
        found, unit = e.format(p), e.units[p]
        return Recurrence(
            tuple((r, self._coefficients(p, c * (e.units[r] / unit))) for r, c in moved.carry.items()),
            tuple((node, self._coefficients(p, c * (factor / unit))) for node, factor, c in moved.feeds),
            found.bits,
            found.inner,
            found.end,
            unit,
        )

    def _coefficients(self, p: int, c) -> tuple[int, ...]:
        """As integers in units of 2^-64. What would be lost in them, or at a period's end, is refused."""
        wanted = values(c)
        found = tuple(math.floor(v * 2**FRACTION + Fraction(1, 2)) for v in wanted)
        largest = max(map(abs, wanted))
        lost = any(abs(n - v * 2**FRACTION) > FINEST * max(abs(v), largest / 16) * 2**FRACTION for n, v in zip(found, wanted, strict=True))
        if lost or largest * 2 ** self.emitter.format(p).end < 2:
            path = self.emitter.program.states[p].leaf.path
            raise PrecisionError(f"state {path}: a coefficient of {float(largest):.3g} in its units is lost; give it a larger scale or end")
        return found

    def _given(self, state: State, unit: Fraction) -> Given | None:
        """What the circuit gives where a chain begins."""
        if state.start is None:
            return None
        if isinstance(state.start, int):
            shift = log2(self.emitter.units[state.start] / unit)
            return Given(0, state.start, max(0, shift))
        if state.start.scalar is None:
            raise UnsupportedOperationError(f"state {state.leaf.path} begins with different numbers, which are not those of a parameter")
        return Given(math.floor(Fraction(state.start.scalar) / unit + Fraction(1, 2)))


def _note(rates, rounded) -> str:
    """rounded: the rates that the integers stand for."""
    errors = [(abs(v / r - 1) if r else Fraction(0), t) for t, (v, r) in enumerate(zip(rounded, rates, strict=True))]
    error, t = max(errors)
    off = f" (largest relative error {float(error):.1e}, at step {t})" if error else " (exact)"
    if len(rates) > 1:
        low, high = (float(f(rounded)) for f in (min, max))
        return f"rate of updates: schedule of {len(rates)} steps, {low:.6g} to {high:.6g}{off}"
    if error:
        return f"rate of updates: {float(rates[0]):.6g} as {float(rounded[0]):.6g} (relative error {float(error):.1e})"
    return f"rate of updates: {rates[0]}"


# ---- formats ----------------------------------------------------------------------------------------------------------


def state_formats(
    moved: dict[int, Moved], units: dict[int, Fraction], sizes: dict[int, float], feeds: dict[int, float]
) -> dict[int, StateFormat]:
    """Formats of the states that are multiplied, where the user has given none.

    units: of all states; those of the ones that are multiplied do not matter. sizes: the largest value of each state at the beginning.
    feeds: the largest integer that each node which feeds one has taken.

    Where it is rounded, the largest change of a step has ``RESOLVED`` bits. The range is ``HEADROOM`` times what so many steps could
    make of it; a moment's is not far below that of others, for the gradient of an adapter that begins with zeros grows.
    """
    feeds = {node: feeds[node] * abs(float(factor)) for x in moved.values() for node, factor, _ in x.feeds}
    top = max(feeds.values(), default=0.0) or 1.0  # what is 0 on a batch need not stay so
    feeds = {node: max(x, top / 64) for node, x in feeds.items()}
    expected = _expected(moved, sizes, feeds)
    larger = _expected(moved, sizes, {node: max(x, top / 4) for node, x in feeds.items()})
    ranges = expected | {p: larger[p] for p in moved if _moment(moved[p])}
    found: dict[int, StateFormat] = {}
    scales: dict[int, int] = {}
    for p, x in moved.items():
        change = max(_largest(c) * expected[r] for r, c in x.carry.items() if r != p) if set(x.carry) - {p} else 0.0
        change += sum(_largest(c) * feeds[node] for node, _, c in x.feeds)
        scales[p] = RESOLVED - math.floor(math.log2(change or 1.0))
    for p, x in moved.items():
        if isinstance(x.state.start, int):  # a copy is not coarser than what it copies
            own = x.state.start
            scales[p] = max(scales[p], scales[own] if own in scales else valuation(units[own]))
    unit = units | {p: moved[p].odd * Fraction(2) ** -scales[p] for p in moved}
    for p, x in moved.items():
        bits = max(8, math.ceil(math.log2(max(HEADROOM * ranges[p] / float(unit[p]), 1.0))))
        others = [float(v * unit[r] / unit[p]) for r, c in x.carry.items() if r != p for v in [_largest(c)] if v]
        others += [float(v * factor / unit[p]) for _, factor, c in x.feeds for v in [_largest(c)] if v]
        least = math.floor(math.log2(min(others, default=1.0)))
        own = x.carry.get(p, Fraction(0))
        decay = min((abs(1 - v) for v in values(own) if v not in (0, 1)), default=Fraction(1))
        inner = max(0, USEFUL - least) if x.read else 0
        end = max(inner, LASTING - least, USEFUL - log2(decay), 0)
        found[p] = StateFormat(scales[p], bits, min(inner, 62), min(end, max(LARGEST_END, inner), 61 - bits))
    return found


def _expected(moved: dict[int, Moved], sizes: dict[int, float], feeds: dict[int, float]) -> dict[int, float]:
    """The largest value of each state in some steps of what feeds them now, all of one sign."""
    now, found = dict(sizes), dict(sizes)
    for step in range(EXPECTED):
        now |= {p: sum(_size(c, step) * now[r] for r, c in x.carry.items()) + _fed(x, feeds, step) for p, x in moved.items()}
        found = {p: max(x, now[p]) for p, x in found.items()}
    return found


def _moment(x: Moved) -> bool:
    """Whether a state begins with a constant."""
    return isinstance(x.state.start, Known)


def _size(c, step: int) -> float:
    found = values(c)
    return abs(float(found[min(step, len(found) - 1)]))


def _largest(c) -> float:
    return max(abs(float(v)) for v in values(c))


def _fed(x: Moved, feeds: dict[int, float], step: int) -> float:
    return sum(_size(c, step) * feeds[node] for node, _, c in x.feeds)
