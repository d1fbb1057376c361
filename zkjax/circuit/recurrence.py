"""States that a step multiplies: s' = sum of carry * states + sum of feed * nodes, rounded once in a period of steps.

Momentum, weight decay, averages: linear maps with public coefficients. To round such a state in every step would cost cells and
lookups for every entry and step. Instead its values within a period follow from the rounded states h at the period's start and from
what was fed since, by coefficients that are products of the steps' own, rounded once to integers:

    S_j = sum over r of B_j[r] h_r + sum over i < j of B_ji[f] f_i         before step j of the period, 2^inner units to one of h
    A_j = the same with the step's own feed, i <= j                        after step j
    h'  = round(2^-end (sum over r of D[r] h_r + sum over i of D_i[f] f_i))  after the last one, |h'| <= 2^bits

All of them are virtual, linear in what is committed, for any number of steps. Periods lie on a grid of absolute steps, so a chain may
be cut anywhere on it and comes out bit by bit the same; a chunk that begins or ends off the grid has a shorter period there.

Coefficients are integers n for n * 2^-64, one or one for each step. Their products are exact before they are rounded, half up, so all
machines have the same ones.

PROTOCOL.md, section 5.6.
"""

from dataclasses import dataclass
from functools import lru_cache

from ..errors import UnsupportedOperationError

FRACTION = 64  # bits of a coefficient after the point
MAX_GROUP = 8  # states that follow from one another
CACHED = 16  # states and periods whose coefficients are kept


@dataclass(frozen=True)
class Rows:
    """The integer coefficients of one state in one period of L steps.

    states: state r to its (before, after, end): L, L and one. feeds: (state q, number of its feed) to (before, after, end): rows of
    step j over the steps i of the period (L x L), and L.
    """

    states: dict[int, tuple[tuple[int, ...], tuple[int, ...], int]]
    feeds: dict[tuple[int, int], tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...], tuple[int, ...]]]

    def value(self, which: int, j: int, held, fed, steps: int):
        """The state before (0) or after (1) step j, or what is rounded at the end (2), of the first ``steps`` feeds.

        held: r to the rounded state at the period's beginning. fed: (q, number) to the feeds of its steps.
        """
        return sum(c * x for c, x in self.terms(which, j, held, fed, steps))

    def terms(self, which: int, j: int, held, fed, steps: int) -> list[tuple[int, object]]:
        """Its summands: coefficients, and what they multiply."""
        found = [(c[2] if which == 2 else c[which][j], held[r]) for r, c in self.states.items()]
        for name, c in self.feeds.items():
            row = c[2] if which == 2 else c[which][j]
            found += [(row[i], fed[name][i]) for i in range(steps)]
        return found


def periods(first_step: int, steps: int, period: int) -> list[tuple[int, int]]:
    """(first step, number of steps) of every period of a chunk."""
    found, start, end = [], first_step, first_step + steps
    while start < end:
        stop = min(end, (start // period + 1) * period)
        found.append((start, stop - start))
        start = stop
    return found


def group(circuit, s: int) -> tuple[int, ...]:
    """The states that state s follows from by carries, itself included, ascending. UnsupportedOperationError for more than 8."""
    found, stack = set(), [s]
    while stack:
        r = stack.pop()
        if r not in found:
            found.add(r)
            stack += [q for q, _ in circuit.parameters[r].recurrence.carry]
        if len(found) > MAX_GROUP:
            raise UnsupportedOperationError(f"{circuit.parameters[s].path} follows from more than {MAX_GROUP} states that are multiplied")
    return tuple(sorted(found))


def rows(circuit, s: int, start: int, length: int) -> Rows:
    """Those of state s in the period of ``length`` steps that begins with step ``start``."""
    members = group(circuit, s)
    place = {r: k for k, r in enumerate(members)}

    def at(coefficients) -> tuple[int, ...]:
        return coefficients if len(coefficients) == 1 else coefficients[start : start + length]

    moves = []
    for r in members:
        found = circuit.parameters[r].recurrence
        moves.append((tuple((place[q], at(c)) for q, c in found.carry), tuple(at(c) for _, c in found.feeds)))
    own = circuit.parameters[s].recurrence
    states, feeds = _rows(tuple(moves), place[s], length, own.inner, own.end)
    return Rows({members[k]: v for k, v in states.items()}, {(members[k], f): v for (k, f), v in feeds.items()})


@lru_cache(maxsize=CACHED)
def _rows(moves: tuple, target: int, length: int, inner: int, end: int) -> tuple[dict, dict]:
    """As ``rows``, of states by their places; most states of a circuit have the coefficients of others."""
    now = [{("state", k): 1} for k in range(len(moves))]  # numerators over 2^(64 * steps so far)
    before, after = [], []
    for j in range(length):
        before.append(_rounded(now[target], FRACTION * j, inner))
        following = []
        for k, (carry, feeds) in enumerate(moves):
            new: dict = {}
            for r, coefficients in carry:
                c = coefficients[j] if len(coefficients) > 1 else coefficients[0]
                for source, value in now[r].items():
                    new[source] = new.get(source, 0) + c * value
            for f, coefficients in enumerate(feeds):
                new["feed", k, f, j] = (coefficients[j] if len(coefficients) > 1 else coefficients[0]) << (FRACTION * j)
            following.append(new)
        now = following
        after.append(_rounded(now[target], FRACTION * (j + 1), inner))
    last = _rounded(now[target], FRACTION * length, end)
    states = {
        k: (tuple(b.get(("state", k), 0) for b in before), tuple(a.get(("state", k), 0) for a in after), last.get(("state", k), 0))
        for k in range(len(moves))
    }
    feeds = {}
    for k, (_, fed) in enumerate(moves):
        for f in range(len(fed)):
            names = [("feed", k, f, i) for i in range(length)]
            feeds[k, f] = (
                tuple(tuple(b.get(name, 0) for name in names) for b in before),
                tuple(tuple(a.get(name, 0) for name in names) for a in after),
                tuple(last.get(name, 0) for name in names),
            )
    return states, feeds


def _rounded(values: dict, exponent: int, bits: int) -> dict:
    """value * 2^(bits - exponent), to the nearest integer, halves up."""
    return {source: ((value << (bits + 1)) + (1 << exponent)) >> (exponent + 1) for source, value in values.items()}
