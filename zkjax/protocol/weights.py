"""Weights are virtual: W_t = W_0 - sum over s < t of rate_s * U_s, with U_s the sum of a parameter's uses in step s.

    <W_t over steps, omega (x) u> = (sum omega) <W_0, u> - sum over uses <U, (rate * suffix) (x) u>,   suffix_s = sum over t > s of omega_t

so a claim on the weights of all steps becomes one on W_0 and contractions of activations with gradients; no weight of a
step in between is ever committed. The weights after the last step are committed, and bound by

    <W_T, eta> - <W_0, eta> + sum over uses <U, rate (x) eta> = 0      for each parameter, combined by powers of mu.

eta is drawn after all roots, and *independently for each axis position*: with one vector for both axes of a square
matrix, W_T off by an antisymmetric matrix would pass. A liar who skips an update, keeps the old weights or uses another
rate changes these sums. A parameter without uses (frozen) has W_T = W_0.

PROTOCOL.md, sections 13.3, 13.4.
"""

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ZERO, powers
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..circuit.circuit import Circuit
from ..work import OBJECT, ONE_BY_ONE, TERM
from .claims import Claim, Term, pull
from .hidden import Hidden


def unroll(hidden: Hidden, circuit: Circuit, claim: Claim, level: int, first_step: int, shifts: tuple[int, ...]) -> Claim:
    """Replace terms on ("param", p) of a level by terms on the committed ("initial", p) and on the updates, and so on.

    shifts: the initial weights are 2^shift times the committed integers.
    """
    while any(term.key[0] == "param" and circuit.levels.of(term.key) == level for term in claim.terms):
        claim = _unrolled(hidden, circuit, claim, level, first_step, shifts)
    return claim


def _unrolled(hidden: Hidden, circuit: Circuit, claim: Claim, level: int, first_step: int, shifts: tuple[int, ...]) -> Claim:
    vectors = hidden.vectors
    here = [term.key[0] == "param" and circuit.levels.of(term.key) == level for term in claim.terms]
    uses = sum(1 + len(circuit.parameters[t.key[1]].updates) for t, x in zip(claim.terms, here, strict=True) if x)
    vectors.meter.charge("updates of parameters", TERM * uses, OBJECT * uses)
    memo: dict = {}
    terms, updates = [], []
    for term, unrolls in zip(claim.terms, here, strict=True):
        if not unrolls:
            terms.append(term)
            continue
        p = term.key[1]
        steps = len(term.step[0])
        terms.append(Term(("initial", p), term.scalar * vectors.total(term.step) * 2 ** shifts[p], None, term.groups, term.vectors))
        for u, update in enumerate(circuit.parameters[p].updates):
            name, suffix = (term.step, p, u), term.step
            if suffix not in memo:
                memo[suffix] = vectors.make(steps, lambda step=term.step: suffix_sums(step))
            if name not in memo:
                memo[name] = _scaled(vectors, memo[suffix], update, first_step, steps)
            updates.append(Term(("node", update.node), -term.scalar, memo[name], term.groups, term.vectors))
    below, constant = pull(circuit, updates, vectors)
    return Claim(tuple(terms + below), claim.constant + constant, claim.value)


def binding(hidden: Hidden, circuit: Circuit, first_step: int, steps: int, shifts: tuple[int, ...]) -> Claim:
    """The claim, with value 0, that ties the committed ("final", p) to the initial weights and all updates."""
    axes: list[int] = []  # variables for each axis position: the longest such axis
    for parameter in circuit.parameters:
        for d, length in enumerate(parameter.shape):
            axes[d : d + 1] = [max([num_bits(length), *axes[d : d + 1]])]
    points = [hidden.challenges(f"weights: point of axis {d}", bits) if bits else [] for d, bits in enumerate(axes)]
    scalars = powers(hidden.challenge("weights: parameters"), len(circuit.parameters))
    hidden.account("weights: binding", sum(axes) + len(circuit.parameters) - 1)
    vectors, along = hidden.vectors, {}
    uses = sum(2 + len(parameter.updates) for parameter in circuit.parameters)
    vectors.meter.charge("updates of parameters", TERM * uses, OBJECT * uses)
    terms, updates = [], []
    for p, (parameter, scalar) in enumerate(zip(circuit.parameters, scalars, strict=True)):
        eta = []
        for d, length in enumerate(parameter.shape):
            if (d, length) not in along:
                along[d, length] = vectors.eq(points[d][len(points[d]) - num_bits(length) :], length)
            eta.append(along[d, length])
        groups = tuple((d,) for d in range(len(eta)))
        terms.append(Term(("final", p), scalar, None, groups, tuple(eta)))
        terms.append(Term(("initial", p), -scalar * 2 ** shifts[p], None, groups, tuple(eta)))
        for update in parameter.updates:
            step = _scaled(vectors, vectors.ones(steps), update, first_step, steps)
            updates.append(Term(("node", update.node), scalar, step, groups, tuple(eta)))
    below, constant = pull(circuit, updates, vectors)
    return Claim(tuple(terms + below), constant, hidden.public(ZERO))


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
