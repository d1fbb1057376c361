"""Gates: activations A = m * y and masked gradients G = m * v, the products of a sign with a rescaled value.

A and G are never committed; they are *defined* as these products, so a claim on them needs no zero-check:

    <A, Omega_A> + <G, Omega_G> = sum over (t, entries) of m * (Omega_A * y + Omega_G * v)

for all masks and steps in one sumcheck of degree 3. Gates that share a mask share its block, each in a *slot* of its own.
It ends in one product of two functionals on committed tensors: m, and the slots' values weighted by public Omega_k(point).

A liar who used another activation anywhere has a wrong sum here: 3 rounds / |K|, and 1/|K| for the merging challenge.

PROTOCOL.md, section 13.6.
"""

from dataclasses import dataclass

from ..algebra.extension import ZERO
from ..algebra.layout import Layout
from ..circuit.circuit import Circuit
from ..ops.ranges import signed_bound
from .claims import Claim, Term, separable, weight_evaluation
from .hidden import Hidden
from .sumcheck import gated_sumcheck


@dataclass(frozen=True, eq=False)
class Slots:
    """Gates by mask. blocks: mask node to its shape with steps; gates: for each slot, mask to (gate node, its terms)."""

    blocks: dict
    gates: tuple[dict, ...]


def slots(circuit: Circuit, terms: list[Term]) -> Slots:
    """Group terms on gates by mask."""
    blocks: dict = {}
    by_mask: dict = {}
    for term in terms:
        i = term.key[1]
        mask = circuit.nodes[i].inputs[0]
        blocks[mask] = (len(term.step[0]), *circuit.nodes[i].shape)
        by_mask.setdefault(mask, {}).setdefault(i, []).append(term)
    count = max(len(gates) for gates in by_mask.values())
    filled: list[dict] = [{} for _ in range(count)]
    for mask, gates in by_mask.items():
        for slot, (gate, gate_terms) in zip(filled, gates.items(), strict=False):
            slot[mask] = (gate, [term._replace(key=mask) for term in gate_terms])
    return Slots(blocks, tuple(filled))


def close_gates(hidden: Hidden, circuit: Circuit, claim: Claim, prover=None) -> None:
    """Prove a claim whose virtual terms are all on gates; what is left is a constraint on committed tensors."""
    on_gates = [term for term in claim.terms if term.key[0] == "gate"]
    committed = [term for term in claim.terms if term.key[0] != "gate"]
    value = claim.value - claim.constant
    if committed:
        value = value - hidden.functional(committed)
    groups = slots(circuit, on_gates)
    layout = Layout(groups.blocks)
    tables = prover.gates(groups, layout) if hidden.proving else None
    point, last, ends = gated_sumcheck(hidden, "gates", value, layout.num_vars, tables)
    weights = layout.weights(point, hidden.vectors)
    mask_terms = [separable(("sign", w.key), w.scalar, w.vectors, True) for w in weights]
    by_mask: dict = {}
    for w in weights:
        by_mask.setdefault(w.key, []).append(w)
    terms, constant = [], ZERO
    for slot in groups.gates:
        filled = [w for mask in slot for w in by_mask[mask]]
        omega = weight_evaluation(filled, {m: gate_terms for m, (_, gate_terms) in slot.items()}, hidden.vectors)
        for w in filled:
            quotient = circuit.nodes[slot[w.key][0]].inputs[1]
            term = separable(("quotient", quotient), omega * w.scalar, w.vectors, True)
            terms.append(term)
            constant = constant - term.total(hidden.vectors) * signed_bound(circuit.nodes[quotient].operation.bits + 1)
    mask = hidden.functional(mask_terms, ends[0] if hidden.proving else None)
    inner = hidden.functional(terms, ends[1] - constant if hidden.proving else None) + constant
    hidden.require_zero("gates: last product", hidden.product("gates: last product", mask, inner) - last)
