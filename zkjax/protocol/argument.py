"""The argument about one chunk of training: the order of all reductions, written once for prover, verifier and pad counter.

    lookups ▸ contractions ▸ weights ▸ gates

Every rescale commits its quotient, so nothing has to be proven layer by layer: the lookups of all layers and steps end in
one claim on all rescale inputs; all of its products in one claim on their operands; weights in between in one claim on the
initial weights and the updates; activations in one claim on quotients and signs. Claims only go down (``Circuit.check``),
and each merging challenge is drawn after everything it merges. What remains are affine constraints on committed tensors.

PROTOCOL.md, sections 13, 13.7, 17.
"""

from ..algebra.extension import ONE, mul_base, powers, stack
from ..algebra.field import from_python
from ..algebra.vectors import total
from ..errors import UnsupportedOperationError
from ..work import ONE_BY_ONE
from .claims import Claim, Term, merge_claims, pull
from .contraction import contract
from .gate import close_gates
from .hidden import Hidden
from .membership import membership
from .plan import Plan
from .weights import binding, unroll


def argument(hidden: Hidden, plan: Plan, revealed: tuple | None = None, prover=None) -> None:
    """Reduce "the committed tensors are an honest run of the plan's chunk" to constraints in ``hidden``.

    revealed: for each loss of the circuit its public integers, one per step, or None. prover: ``witness.Witness``, in the
    prover's role only.
    """
    circuit = plan.circuit
    claims = [membership(hidden, circuit, plan.sites, prover)]
    if revealed is not None:
        claims += loss_claims(hidden, plan, revealed)

    active, claims = _split(claims, "dot")
    if active:
        claims += contract(hidden, "contractions", circuit, _merged(hidden, "contractions", active), prover)

    active, claims = _split(claims, "param")
    active.append(binding(hidden, circuit, plan.first_step, plan.steps, plan.shifts))
    claim = unroll(hidden, circuit, _merged(hidden, "weights", active), plan.first_step, plan.shifts)
    claims += contract(hidden, "weights", circuit, claim, prover)
    if any(claim.has("param", "dot") for claim in claims):
        raise UnsupportedOperationError("a claim on a product or a parameter is left after its phase")

    active, claims = _split(claims, "gate")
    if active:
        close_gates(hidden, circuit, _merged(hidden, "gates", active), prover)

    for claim in claims:
        hidden.require_zero("committed values", claim.value - claim.constant - hidden.functional(claim.terms))


def loss_claims(hidden: Hidden, plan: Plan, revealed: tuple) -> list[Claim]:
    """One claim per revealed loss: its integers of all steps, combined by powers of a challenge."""
    vectors, tau = hidden.vectors, hidden.challenge("losses")
    hidden.account("losses", len(revealed) * (plan.steps - 1))
    claims = []
    for loss, integers in zip(plan.circuit.losses, revealed, strict=True):
        step = vectors.make(plan.steps, lambda: stack(powers(tau, plan.steps)), ONE_BY_ONE * plan.steps)
        terms, constant = pull(plan.circuit, [Term(("node", loss.node), ONE, step, (), ())], vectors)
        value = vectors.number(plan.steps, lambda step=step, row=integers: total(mul_base(step, from_python(row))))
        claims.append(Claim(tuple(terms), constant, hidden.public(value)))
    return claims


def _split(claims: list[Claim], kind: str) -> tuple[list[Claim], list[Claim]]:
    return [c for c in claims if c.has(kind)], [c for c in claims if not c.has(kind)]


def _merged(hidden: Hidden, label: str, claims: list[Claim]) -> Claim:
    """One claim from several, by a challenge drawn after all of their values."""
    if len(claims) == 1:
        return claims[0]
    hidden.account("merging of claims", len(claims) - 1)
    return merge_claims(claims, hidden.challenge(f"{label}: merge"))
