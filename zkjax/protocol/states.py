"""States are virtual: what they are in every step is a public linear map of what is committed.

A parameter that only ever subtracts is exact:  W_t = W_0 - sum over s < t of rate_s * U_s, with U_s its uses in step s, so

    <W_t over steps, omega (x) u> = (sum omega) <W_0, u> - sum over uses <U, (rate * suffix) (x) u>,   suffix_s = sum over t > s of omega_t

and a claim on the weights of all steps becomes one on W_0 and contractions of activations with gradients; no weight of a step in
between is ever committed. A state that a step multiplies is rounded once in a period (``circuit.recurrence``): within a period it is
B h + sum over feeds of B f, so a claim on it becomes one on the rounded states h, at the chunk's beginning and in between, and on the
feeds, with step vectors that are omega times the transposed coefficients.

The states after the last step are committed. Exact ones are bound by

    <W_T, eta> - <W_0, eta> + sum over uses <U, rate (x) eta> = 0      for each of them, combined by powers of mu.

eta is drawn after all roots, and *independently for each axis position*: with one vector for both axes of a square
matrix, W_T off by an antisymmetric matrix would pass. Rounded ones are quotients, like those of a rescale: 2^end h' and a remainder in
its range are what the period leads to, and h' itself is in its range, without which any remainder would do.

A liar who skips an update, keeps the old weights or uses another rate changes these sums. A parameter without uses is *frozen*: it is
committed once, and there is no W_T. A state that the circuit gives at the beginning of a chain is a constant or a copy of a parameter
there: nothing to choose.

PROTOCOL.md, sections 13.3, 13.4.
"""

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ZERO, Ext, powers
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..circuit.levels import STATES
from ..work import OBJECT, ONE_BY_ONE, SCALAR, TERM
from .claims import Claim, Term, merge_terms, pull
from .hidden import Hidden


def unroll(hidden: Hidden, plan, claim: Claim, level: int) -> Claim:
    """Replace terms on states of a level by terms on what is committed of them and on their updates and feeds, and so on."""
    levels = plan.circuit.levels
    while any(term.key[0] in STATES and levels.of(term.key) == level for term in claim.terms):
        claim = _unrolled(hidden, plan, claim, level)
    return claim


def _unrolled(hidden: Hidden, plan, claim: Claim, level: int) -> Claim:
    circuit, vectors = plan.circuit, hidden.vectors
    vectors.meter.charge("updates of parameters", SCALAR * len(claim.terms))
    here = [term.key[0] in STATES and circuit.levels.of(term.key) == level for term in claim.terms]
    uses = sum(1 + _uses(plan, t.key[1]) for t, x in zip(claim.terms, here, strict=True) if x)
    vectors.meter.charge("updates of parameters", TERM * uses, OBJECT * uses)
    memo: dict = {}
    terms, updates, constant = [], [], claim.constant
    for term, unrolls in zip(claim.terms, here, strict=True):
        if not unrolls:
            terms.append(term)
            continue
        kind, p = term.key
        if circuit.parameters[p].recurrence is not None:
            name = kind, p, term.step
            if name not in memo:
                memo[name] = plan.motions[p].weights(vectors, kind, term.step)
            first, later, fed = memo[name]
            for r, weight in first.items():
                found, number = _at_start(plan, vectors, r, term.scalar * weight, term.groups, term.vectors)
                terms, constant = terms + found, constant + number
                if later[r] is not None:
                    terms.append(Term(("hat", r), term.scalar, later[r], term.groups, term.vectors))
            for (q, f), step in fed.items():
                node = circuit.parameters[q].recurrence.feeds[f][0]
                updates.append(Term(("node", node), term.scalar, step, term.groups, term.vectors))
            continue
        steps = len(term.step[0])
        found, number = _at_start(plan, vectors, p, term.scalar * vectors.total(term.step), term.groups, term.vectors)
        terms, constant = terms + found, constant + number
        for u, update in enumerate(circuit.parameters[p].updates):
            name, suffix = (term.step, p, u), term.step
            if suffix not in memo:
                memo[suffix] = vectors.make(steps, lambda step=term.step: suffix_sums(step))
            if name not in memo:
                memo[name] = _scaled(vectors, memo[suffix], update, plan.first_step, steps)
            updates.append(Term(("node", update.node), -term.scalar, memo[name], term.groups, term.vectors))
    below, number = pull(circuit, updates, vectors)
    return Claim(tuple(merge_terms(terms + below, vectors)), constant + number, claim.value)


def _uses(plan, p: int) -> int:
    """Terms that a term on a state becomes."""
    if plan.circuit.parameters[p].recurrence is None:
        return len(plan.circuit.parameters[p].updates)
    return 2 * len(plan.motions[p].states) + len(plan.motions[p].feeds)


def _at_start(plan, vectors: Vectors, p: int, scalar: Ext, groups, along) -> tuple[list[Term], Ext]:
    """A functional of a state at the chunk's beginning, as terms on what is committed there and a number."""
    given = plan.circuit.parameters[p].given if plan.given else None
    if given is None:
        return [Term(plan.start(p), scalar * 2 ** plan.shifts[p], None, groups, along)], ZERO
    number = Term(plan.start(p), scalar * given.integer, None, groups, along).total(vectors) if given.integer else ZERO
    if given.copied is None:
        return [], number
    factor = 2 ** (given.shift + plan.shifts[given.copied])
    return [Term(plan.start(given.copied), scalar * factor, None, groups, along)], number


def binding(hidden: Hidden, plan) -> Claim:
    """The claim, with value 0, that ties the committed ("final", p) of exact states to the initial ones and all updates."""
    circuit = plan.circuit
    axes: list[int] = []  # variables for each axis position: the longest such axis
    for parameter in circuit.parameters:
        for d, length in enumerate(parameter.shape):
            axes[d : d + 1] = [max([num_bits(length), *axes[d : d + 1]])]
    points = [hidden.challenges(f"weights: point of axis {d}", bits) if bits else [] for d, bits in enumerate(axes)]
    scalars = powers(hidden.challenge("weights: parameters"), len(circuit.parameters))
    hidden.account("weights: binding", sum(axes) + len(circuit.parameters) - 1)
    vectors, along = hidden.vectors, {}
    exact = [(p, x) for p, x in enumerate(circuit.parameters) if x.recurrence is None and not x.frozen]
    uses = sum(2 + len(parameter.updates) for _, parameter in exact)
    vectors.meter.charge("updates of parameters", TERM * uses, OBJECT * uses)
    terms, updates, constant = [], [], ZERO
    for p, parameter in exact:
        eta = []
        for d, length in enumerate(parameter.shape):
            if (d, length) not in along:
                along[d, length] = vectors.eq(points[d][len(points[d]) - num_bits(length) :], length)
            eta.append(along[d, length])
        groups = tuple((d,) for d in range(len(eta)))
        terms.append(Term(("final", p), scalars[p], None, groups, tuple(eta)))
        found, number = _at_start(plan, vectors, p, -scalars[p], groups, tuple(eta))
        terms, constant = terms + found, constant + number
        for update in parameter.updates:
            step = _scaled(vectors, vectors.ones(plan.steps), update, plan.first_step, plan.steps)
            updates.append(Term(("node", update.node), scalars[p], step, groups, tuple(eta)))
    below, number = pull(circuit, updates, vectors)
    return Claim(tuple(terms + below), constant + number, hidden.public(ZERO))


def _scaled(vectors: Vectors, step, update, first_step: int, steps: int):
    """A vector over steps times the rates of an update."""
    return vectors.make(steps, lambda: ext.mul_base(step, rates(update, first_step, steps)), ONE_BY_ONE * steps)


def rates(update, first_step: int, steps: int) -> np.ndarray:
    """The update's integer learning rate at each step of the chunk, in F."""
    return field.from_python([update.rate(t) for t in range(first_step, first_step + steps)])


def suffix_sums(vector):
    """suffix[s] = sum of vector[t] over t > s, a NumPy K vector of at most 2^32 entries; the last entry is 0."""
    result = []
    for component in vector:
        halves = component & field.EPSILON, component >> np.uint64(32)
        low, high = (np.append(np.cumsum(half[:0:-1], dtype=np.uint64)[::-1], np.uint64(0)) for half in halves)
        result.append(field.join(low, high))
    return tuple(result)
