"""Weights are virtual: W_t = W_0 - sum over s < t of rate_s * U_s, with U_s the sum of a parameter's uses in step s.

    <W_t over steps, omega (x) u> = (sum omega) <W_0, u> - sum over uses <U, (rate * suffix) (x) u>,   suffix_s = sum over t > s of omega_t

so a claim on the weights of all steps becomes one on W_0 and contractions of activations with gradients; no weight of a
step in between is ever committed. The weights after the last step are committed, and bound by

    <W_T, eta> - <W_0, eta> + sum over uses <U, rate (x) eta> = 0      for each parameter, combined by powers of mu.

eta is drawn after all roots, and *independently for each axis position*: with one vector for both axes of a square
matrix, W_T off by an antisymmetric matrix would pass. A liar who skips an update, keeps the old weights or uses another
rate changes these sums. A parameter without uses (frozen) has W_T = W_0.

PROTOCOL.md, section 13.5.
"""

import numpy as np

from .. import extension as ext
from .. import field
from ..circuit import Circuit
from ..claims import Claim, Term, ones, pull
from ..extension import ZERO, powers
from ..hidden import Hidden
from ..layout import total
from ..poly import eq_vector, num_bits


def unroll(circuit: Circuit, claim: Claim, first_step: int, shifts: tuple[int, ...]) -> Claim:
    """Replace terms on ("param", p) by terms on the committed ("initial", p) and on the updates.

    shifts: the initial weights are 2^shift times the committed integers.
    """
    memo: dict = {}
    terms, updates = [], []
    for term in claim.terms:
        if term.key[0] != "param":
            terms.append(term)
            continue
        p = term.key[1]
        steps = len(term.step[0])
        terms.append(Term(("initial", p), term.scalar * total(term.step) * 2 ** shifts[p], None, term.groups, term.vectors))
        for u, update in enumerate(circuit.parameters[p].updates):
            name = id(term.step), p, u
            if name not in memo:
                memo[name] = ext.mul_base(suffix_sums(term.step), rates(update, first_step, steps))
            updates.append(Term(("node", update.node), -term.scalar, memo[name], term.groups, term.vectors))
    below, constant = pull(circuit, updates)
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
    vectors: dict = {}
    terms, updates = [], []
    for p, (parameter, scalar) in enumerate(zip(circuit.parameters, scalars, strict=True)):
        eta = []
        for d, length in enumerate(parameter.shape):
            if (d, length) not in vectors:
                vectors[d, length] = eq_vector(points[d][len(points[d]) - num_bits(length) :], length)
            eta.append(vectors[d, length])
        groups = tuple((d,) for d in range(len(eta)))
        terms.append(Term(("final", p), scalar, None, groups, tuple(eta)))
        terms.append(Term(("initial", p), -scalar * 2 ** shifts[p], None, groups, tuple(eta)))
        for update in parameter.updates:
            step = ext.mul_base(ones(steps), rates(update, first_step, steps))
            updates.append(Term(("node", update.node), scalar, step, groups, tuple(eta)))
    below, constant = pull(circuit, updates)
    return Claim(tuple(terms + below), constant, hidden.public(ZERO))


def rates(update, first_step: int, steps: int) -> np.ndarray:
    """The update's integer learning rate at each step of the chunk, in F."""
    return field.from_python([update.rate(t) for t in range(first_step, first_step + steps)])


def suffix_sums(vector):
    """suffix[s] = sum of vector[t] over t > s, a NumPy K vector; the last entry is 0."""
    result, running = [], ZERO
    for element in reversed(ext.unstack(vector)):
        result.append(running)
        running = running + element
    return ext.stack(result[::-1])
