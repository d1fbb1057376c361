"""The argument about one chunk of training: the order of all reductions, written once for prover, verifier and pad counter.

    lookups ▸ highest level of products ▸ .. ▸ lowest level, with the updates ▸ gates

Every rescale commits its quotient, so nothing has to be proven layer by layer: the lookups of all layers and steps end in
one claim on all rescale inputs. Then level by level (``circuit.levels``): all products of a level, of all layers and steps, in
one sumcheck that ends in claims on their operands; parameters become claims on the initial ones and on their updates where
these have their level; activations, at the bottom, become one claim on quotients and signs. In a plain net the third level has
the products of the forward and the backward pass, the second those of the updates. Each merging challenge is drawn after
everything it merges. What remains are affine constraints on committed tensors.

PROTOCOL.md, sections 13, 13.7, 17.
"""

from ..algebra.extension import ONE, mul_base, powers, stack
from ..algebra.field import from_python
from ..algebra.vectors import total
from ..circuit.levels import GATES
from ..work import ONE_BY_ONE
from .claims import Claim, Term, merge_claims, pull
from .contraction import contract
from .draws import settle
from .forms import Forms, onto_cells
from .gate import close_gates
from .hidden import Hidden
from .membership import membership
from .plan import Plan
from .states import binding, unroll


def argument(hidden: Hidden, plan: Plan, revealed: tuple | None = None, prover=None, drawn: Forms | None = None) -> None:
    """Reduce "the committed tensors are an honest run of the plan's chunk" to constraints in ``hidden``.

    revealed: for each loss of the circuit its public integers, one per step, or None; None: all hidden. prover: ``witness.Witness``, in the
    prover's role only. drawn: the forms of the first weights, where their ranges are shown so.
    """
    circuit, hidden.vectors.first_step = plan.circuit, plan.first_step
    claims = [onto_cells(hidden, membership(hidden, circuit, plan.sites, prover), drawn)]
    if revealed is not None:
        claims += loss_claims(hidden, plan, revealed)
    claims.append(binding(hidden, plan))
    descend(hidden, plan, claims, prover)


def descend(hidden: Hidden, plan: Plan, claims: list[Claim], prover=None) -> None:
    """Take claims down level by level, to constraints on committed tensors."""
    circuit = plan.circuit
    for level in range(circuit.levels.depth, GATES, -1):
        active, claims = _split(claims, circuit, level)
        if active:
            claim = unroll(hidden, plan, _merged(hidden, f"level {level}", active), level)
            claims += contract(hidden, level, circuit, settle(hidden, plan, claim), prover)

    active, claims = _split(claims, circuit, GATES)
    if active:
        close_gates(hidden, circuit, settle(hidden, plan, _merged(hidden, "gates", active)), prover)

    for claim in (settle(hidden, plan, claim) for claim in claims):
        hidden.require_zero("committed values", claim.value - claim.constant - hidden.functional(claim.terms))


def loss_claims(hidden: Hidden, plan: Plan, revealed: tuple) -> list[Claim]:
    """One claim per revealed loss: its integers of all steps, combined by powers of a challenge."""
    vectors, tau = hidden.vectors, hidden.challenge("losses")
    found = [(loss, x) for loss, x in zip(plan.circuit.losses, revealed, strict=True) if x is not None]
    hidden.account("losses", len(found) * (plan.steps - 1))
    claims = []
    for loss, integers in found:
        step = vectors.make(plan.steps, lambda: stack(powers(tau, plan.steps)), ONE_BY_ONE * plan.steps)
        terms, constant = pull(plan.circuit, [Term(("node", loss.node), ONE, step, (), ())], vectors)
        value = vectors.number(plan.steps, lambda step=step, row=integers: total(mul_base(step, from_python(row))))
        claims.append(Claim(tuple(terms), constant, hidden.public(value)))
    return claims


def _split(claims: list[Claim], circuit, level: int) -> tuple[list[Claim], list[Claim]]:
    """Those with a term on this level, and the others."""
    here = [any(circuit.levels.of(term.key) == level for term in claim.terms) for claim in claims]
    return [c for c, x in zip(claims, here, strict=True) if x], [c for c, x in zip(claims, here, strict=True) if not x]


def _merged(hidden: Hidden, label: str, claims: list[Claim]) -> Claim:
    """One claim from several, by a challenge drawn after all of their values."""
    if len(claims) == 1:
        return claims[0]
    hidden.account("merging of claims", len(claims) - 1)
    return merge_claims(claims, hidden.challenge(f"{label}: merge"), hidden.vectors)
