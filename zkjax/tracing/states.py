"""States in integers: the updates of exact ones, the recurrences of those that a step multiplies, and the formats of the latter.

A state that is multiplied is an integer h times its unit where it is rounded, and has ``inner`` more bits within a period. Its
coefficients are rounded to multiples of 2^-64 here, and the coefficients of a period that follow from them by the verifier.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ..circuit.parts import Given, Parameter, Recurrence, Update
from ..circuit.recurrence import FRACTION
from ..errors import PrecisionError, UnsupportedOperationError
from ..ops.leaves import Next, Param
from .constants import Known
from .expressions import COMMITTED, Expression
from .functions import constant
from .motions import Row, Uses
from .precision import StateFormat
from .rationals import gradient_unit, log2, rounded_rates, valuation
from .series import Series, values
from .step import State

RESOLVED = 12  # bits that the largest change of a state in a step has, where it is rounded
ROOTED_INNER = 2  # bits within a period of a state of which roots are taken: so few make the roots narrow
KEPT = 4  # significant bits of the least coefficient at a period's end
LASTING = 8  # bits below the change of a step that errors of coefficients are at a period's end
HEADROOM = 4  # a state's range is this many times the largest value that is expected
EXPECTED = 64  # steps that are looked ahead for that
LARGEST_END = 40  # bits that a period's end drops, at most, where nothing is said
OF_QUOTIENTS = Fraction(1, 2**8)  # relative error of the rates of quotients and functions, which are no gradients
FINEST = Fraction(1, 2**12)  # relative error of a coefficient in units of 2^-64


@dataclass(frozen=True, eq=False)
class Moved:
    """A state that is multiplied, as its format follows from it.

    odd: of its unit what no power of two is. carry: coefficients of states. feeds: (node, the value of its integer 1, coefficient, and
    what it stands for: a tensor, or the number of an exact state).
    """

    state: State
    odd: Fraction
    carry: dict
    feeds: list


def odd_parts(found: dict[int, Uses]) -> dict[int, Fraction]:
    """Of each state that an exact one reads, the unit's odd part: the largest rate becomes a power of two with it."""
    rates: dict[int, list] = {}
    for use in found.values():
        for r, c in (*use.after.items(), *use.before.items()):
            rates.setdefault(r, []).append(values(c))
    return {r: gradient_unit(tables) for r, tables in rates.items()}


def odd_squares(rows: tuple[Row, ...], rooted: set[int]) -> dict[int, Fraction]:
    """Of each state of which a root is taken, and that one tensor feeds, the unit's odd part: its coefficient becomes a power of two."""
    found = {}
    for p in rooted:
        feeds = [c for x, c in rows[p].feeds.items() if constant(x) is None]
        if len(feeds) == 1 and not isinstance(feeds[0], Series):
            found[p] = abs(feeds[0]) * Fraction(2) ** -log2(abs(feeds[0]))
    return found


def rate_tables(found: dict[int, Uses]) -> list[tuple[Fraction, ...]]:
    """The rates with which gradients are subtracted from exact states; quotients and functions have units of their own."""
    return [tuple(-v for v in values(c)) for use in found.values() for x, c in use.feeds.items() if not x.does(*COMMITTED)]


class Lowered:
    """The states of a circuit, once all tensors that they read are nodes of it.

    emitter: ``values``, of each tensor (the value of its integer 1, node); ``state``, the same of a state before or after a step.
    """

    def __init__(self, emitter, rows: tuple[Row, ...], found: dict[int, Uses]):
        self.emitter, self.rows, self.found = emitter, rows, found

    def parameters(self) -> tuple[tuple[Parameter, ...], dict[int, int]]:
        """The circuit's parameters, and the bits after the point that each exact one needs, for its updates or for what it copies."""
        e, needed, result = self.emitter, {}, []
        for p, state in enumerate(e.program.states):
            subtracted = self._subtracted(self.found[p]) if p in self.found else []
            if p in self.found:
                least = [b for _, _, b in subtracted] + [x for x in (e.formats.parameters.get(state.leaf.path),) if x is not None]
                least += [valuation(e.units[state.start])] if isinstance(state.start, int) else []
                needed[p] = max(least, default=e.scales[p])
            updates = tuple(Update(node, tuple(v * 2 ** max(0, e.scales[p] - b) for v in n)) for node, n, b in subtracted)
            recurrence = None if p in self.found else self._recurrence(p)
            given = self._given(state, e.units[p])
            result.append(Parameter(state.leaf.path, state.leaf.shape, updates, recurrence, given, e.units[p]))
        return tuple(result), needed

    def _subtracted(self, use: Uses) -> list[tuple[int, tuple[int, ...], int]]:
        """(node, integers n, bits b): an exact state loses n * 2^-b * node, in units of 1."""
        e, found = self.emitter, []
        tolerance = e.formats.rate_tolerance
        terms = [(*e.values[x], c, min(tolerance, OF_QUOTIENTS) if x.does(*COMMITTED) else tolerance) for x, c in use.feeds.items()]
        terms += [(*e.state(Param(r)), c, tolerance) for r, c in use.before.items()]
        terms += [(*e.state(Next(r)), c, tolerance) for r, c in use.after.items()]
        for factor, node, c, tolerance in terms:
            n, b, note = _rates(c, factor, tolerance)
            if any(n):
                found.append((node, n, b))
                e.notes.append(note)
        return found

    def moved(self, p: int) -> Moved:
        """State p, which is multiplied, as its format follows from it."""
        e, row, carry = self.emitter, self.rows[p], dict(self.rows[p].carry)
        feeds = [(e.values[x][1], e.values[x][0], c, x) for x, c in row.feeds.items()]
        for feed in [f for f in feeds if isinstance(f[3], Expression) and constant(f[3]) is not None]:  # such as what keeps a root from 0
            _, factor, c, x = feed
            _, largest, lost = _fixed_point(c, factor / e.units[p])
            if lost or largest * 2 ** e.format(p).end < 2:
                added = float(max(map(abs, values(c))) * constant(x))
                e.notes.append(f"{added:.3g} that each step adds to state {e.program.states[p].leaf.path} is 0 in its units")
                feeds.remove(feed)
        for r in sorted(set(carry) & set(self.found)):  # an exact state feeds it
            factor, node = e.state(Param(r))
            feeds.append((node, factor, carry.pop(r), r))
        return Moved(e.program.states[p], e.odd[p], carry, feeds)

    def _recurrence(self, p: int) -> Recurrence:
        e, moved = self.emitter, self.moved(p)
        found, unit = e.format(p), e.units[p]
        return Recurrence(
            tuple((r, self._coefficients(p, c, e.units[r] / unit)) for r, c in moved.carry.items()),
            tuple((node, self._coefficients(p, c, factor / unit)) for node, factor, c, _ in moved.feeds),
            found.bits,
            found.inner,
            found.end,
        )

    def _coefficients(self, p: int, c, unit: Fraction) -> tuple[int, ...]:
        """c * unit as integers in units of 2^-64. What would be lost in them, or at a period's end, is refused."""
        found, largest, lost = _fixed_point(c, unit)
        path, formats = self.emitter.program.states[p].leaf.path, self.emitter.formats.states
        if path in formats and (lost or largest * 2 ** formats[path].end < 2):  # else one follows from this circuit
            raise PrecisionError(f"state {path}: a coefficient of {float(largest):.3g} in its units is lost; give it a larger scale or end")
        return found

    def _given(self, state: State, unit: Fraction) -> Given | None:
        """What the circuit gives where a chain begins."""
        if state.start is None:
            return None
        if isinstance(state.start, int):
            shift = log2(self.emitter.units[state.start] / unit)
            return Given(0, state.start, max(0, shift))  # of what is coarser than what it copies the tracer makes no circuit
        if state.start.scalar is None:
            raise UnsupportedOperationError(f"state {state.leaf.path} begins with different numbers, which are not those of a parameter")
        integer = math.floor(Fraction(state.start.scalar) / unit + Fraction(1, 2))
        if state.start.scalar and not integer:
            self.emitter.notes.append(f"state {state.leaf.path} begins with {float(state.start.scalar):.3g}, which is 0 in its units")
        return Given(integer)


@lru_cache(maxsize=256)
def _rates(c, factor: Fraction, tolerance: Fraction) -> tuple[tuple[int, ...], int, str]:
    """Integers n and bits b with n * 2^-b for -c * factor, and a note of how well they meet it. Cached: schedules are long."""
    wanted = tuple(-v * factor for v in values(c))
    s = -log2(max(map(abs, wanted)))
    n, b = rounded_rates(tuple(w * Fraction(2) ** s for w in wanted), tolerance)
    unit = Fraction(2) ** -(b + s) / factor
    return n, b + s, _note(tuple(-v for v in values(c)), [v * unit for v in n])


@lru_cache(maxsize=256)
def _fixed_point(c, unit: Fraction) -> tuple[tuple[int, ...], Fraction, bool]:
    """c * unit in units of 2^-64; the largest of its values, and whether one is lost."""
    wanted = [v * unit for v in values(c)]
    found = tuple(math.floor(v * 2**FRACTION + Fraction(1, 2)) for v in wanted)
    largest = max(map(abs, wanted))
    lost = any(abs(n - v * 2**FRACTION) > FINEST * max(abs(v), largest / 16) * 2**FRACTION for n, v in zip(found, wanted, strict=True))
    return found, largest, lost


def _note(rates, rounded) -> str:
    """rounded: the rates that the integers stand for."""
    errors = [(abs(v / r - 1) if r else Fraction(0), t) for t, (v, r) in enumerate(zip(rounded, rates, strict=True))]
    error, t = max(errors)
    off = f" (largest relative error {float(error):.1e}, at step {t})" if error else " (exact)"
    if len(rates) > 1:
        low, high = (float(f(rounded)) for f in (min, max))
        lost = sum(1 for v, r in zip(rounded, rates, strict=True) if r and not v)
        none = f"; IN {lost} STEPS IT BECAME 0 (Precision.rate_tolerance)" if lost else ""
        return f"rate of updates: schedule of {len(rates)} steps, {low:.6g} to {high:.6g}{off}{none}"
    if error:
        return f"rate of updates: {float(rates[0]):.6g} as {float(rounded[0]):.6g} (relative error {float(error):.1e})"
    return f"rate of updates: {rates[0]}"


# ---- formats ----------------------------------------------------------------------------------------------------------


def state_formats(emission, sizes: dict, feeds: dict, useful: int, remembered: dict) -> dict[int, StateFormat]:
    """Formats of the states that are multiplied, where the user has given none.

    emission: ``lowering.Emission``; units of the states that are multiplied do not matter. sizes: of each state what it is equal to where
    a chain begins, and its largest value. feeds: the largest value of each tensor that feeds a state. remembered: what was looked ahead
    for other circuits of the same source.

    Where it is rounded, the change of a step has ``RESOLVED`` bits. The range is ``HEADROOM`` times what some steps could make of it; a
    moment's is not far below that of others, for the gradient of an adapter that begins with zeros grows. Within a period and at its
    end, coefficients are off by so little that it is ``useful``, or ``LASTING``, bits below the change of a step.
    """
    rows, moved, units = emission.rows, emission.moved, emission.units
    top = {x: max(v for y, v in feeds.items() if y.tagged == x.tagged) or 1.0 for x in feeds}  # what is 0 on a batch need not stay so
    fed = {x: v or top[x] / 64 for x, v in feeds.items()}

    def ahead(feeds: dict) -> tuple[dict[int, float], dict[int, float]]:
        key = frozenset(feeds.items())
        if key not in remembered:
            remembered[key] = _looked_ahead(rows, sizes, feeds)
        return remembered[key]

    expected, changes = ahead(fed)
    larger, _ = ahead({x: max(v, top[x] / 4) if x.tagged else v for x, v in fed.items()})
    ranges = expected | {p: larger[p] for p in moved if isinstance(moved[p].state.start, Known)}
    scales = {p: RESOLVED - math.floor(math.log2(changes[p])) for p in moved}
    for p, x in moved.items():
        if isinstance(x.state.start, int):  # a copy is not coarser than what it copies
            own = x.state.start
            scales[p] = max(scales[p], scales[own] if own in scales else valuation(units[own]))
    for p in emission.rooted & {*moved}:  # of a second moment every square counts that is not 0: what it divides would grow beyond bounds
        fed_by = [(factor, c) for _, factor, c, x in moved[p].feeds if not isinstance(x, Expression) or constant(x) is None]
        least = (abs(float(factor)) * min(abs(float(v)) for v in values(c) if v) for factor, c in fed_by)
        scales[p] = max([math.ceil(-math.log2(x / float(moved[p].odd)) - 2.0**-20) for x in least], default=scales[p])
    unit = {p: float(v) for p, v in (units | {p: moved[p].odd * Fraction(2) ** -scales[p] for p in moved}).items()}
    found: dict[int, StateFormat] = {}
    for p, x in moved.items():
        bits = max(8, math.ceil(math.log2(max(HEADROOM * ranges[p] / unit[p], 1.0))))
        follows = _follows(moved, p)
        read = [expected[r] / unit[r] for r in follows if r != p]  # integers that coefficients multiply
        read += [(fed | expected)[name] / abs(float(factor)) for q in follows for _, factor, _, name in moved[q].feeds]
        own = values(x.carry.get(p, Fraction(0)))
        kept = [] if all(v in (0, 1) for v in own) else [expected[p] / unit[p]]
        inner = max(0, _bits(unit[p] * max(read, default=1.0) / changes[p]) + useful) if p in emission.read else 0
        inner = ROOTED_INNER if p in emission.rooted else inner
        factors = [(float(factor), c) for _, factor, c, _ in x.feeds] + [(unit[r], c) for r, c in x.carry.items()]
        factors = [abs(factor / unit[p] * float(v)) for factor, c in factors for v in values(c) if v]
        end = max(inner, _bits(unit[p] * max(read + kept, default=1.0) / changes[p]) + LASTING, KEPT - _bits(min(factors, default=1.0)), 0)
        found[p] = StateFormat(scales[p], bits, min(inner, 62), min(end, max(LARGEST_END, inner), 61 - bits))
    return found


def _bits(x: float) -> int:
    return math.ceil(math.log2(x))


def _follows(moved: dict[int, Moved], p: int) -> set[int]:
    """The states that are multiplied and that state p follows from, itself included."""
    found, stack = set(), [p]
    while stack:
        p = stack.pop()
        if p not in found:
            found.add(p)
            stack += moved[p].carry
    return found


def _looked_ahead(rows: tuple[Row, ...], sizes: dict, feeds: dict) -> tuple[dict[int, float], dict[int, float]]:
    """The largest value of each state in some steps, and the largest change of a step; of one whose coefficients depend on the step the
    least, but no less than a sixteenth of the largest.

    The responses to what a chain begins with, and to each tensor that feeds it and stays as it is, are followed with their signs, and
    added up without. The steps are spread over those that are tabulated.
    """
    now: list[dict] = [{sizes[p][0]: sizes[p][1]} for p in range(len(rows))]
    tabulated = max((len(values(c)) for row in rows for c in (*row.carry.values(), *row.feeds.values())), default=1)
    largest = {p: sum(map(abs, x.values())) for p, x in enumerate(now)}
    changes: dict[int, list[float]] = {p: [] for p in range(len(rows))}
    for k in range(EXPECTED):
        step, after = k if tabulated <= EXPECTED else k * (tabulated - 1) // (EXPECTED - 1), []
        for row in rows:
            new: dict = {}
            for r, c in row.carry.items():
                for source, v in now[r].items():
                    new[source] = new.get(source, 0.0) + _in_step(c, step) * v
            for x, c in row.feeds.items():
                new[x] = new.get(x, 0.0) + _in_step(c, step) * feeds[x]
            after.append(new)
        for p, (before, new) in enumerate(zip(now, after, strict=True)):
            largest[p] = max(largest[p], sum(map(abs, new.values())))
            changes[p].append(sum(abs(v - before.get(source, 0.0)) for source, v in new.items()))
        now = after
    found = {}
    for p, x in changes.items():
        most, moving = max(x), any(isinstance(c, Series) for c in (*rows[p].carry.values(), *rows[p].feeds.values()))
        least = min((v for v in x if v > most * 2.0**-20), default=most) if moving else most
        found[p] = max(least, most / 16) or largest[p] or 1.0
    return largest, found


def _in_step(c, step: int) -> float:
    found = values(c)
    return float(found[min(step, len(found) - 1)])
