"""Zero knowledge of whole proofs, on the prover's own code. (The opening alone: ``commitment/test_zero_knowledge.py``.)

Exactly, for fixed challenges, tiny circuits, and randomness that is uniform where it is drawn:

1. The argument's messages are f(witness) - L * (pads, a, b) with the same L for all witnesses; L has full row rank. So they
   are uniform, whatever the witness is.
2. The claim <cells, W> = Y that is left for the opening is a function of public values and of these messages.
3. The opening's messages are E * cells + R * (mask rows, random coefficients); the span of R contains E * cells for all
   cells with <cells, W> = 0. So they are uniform on a coset that (W, Y) fixes, whatever the cells are; pads, triples and
   c = a b among them included.
4. A simulator that knows only public values and challenges samples the same distribution, and the verifier accepts it.

Not covered by algebra: hash functions (roots, siblings and the expansion of seeds). That one commitment is opened in several
proofs is another module's (``test_links_zero_knowledge.py``). Distributions of real proofs are tested statistically as well.
"""

import ast
import dataclasses
import itertools
import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from harness import SMALL, Liar, make_run
from scipy import stats
from test_graphs import GRAPHS
from zero_knowledge import (
    TOY,
    Case,
    Masking,
    Opening,
    Programmed,
    Recorder,
    Trial,
    Watched,
    argue,
    drawn_for,
    eliminate,
    ending_with_h,
    formed,
    fresh_values,
    multiply,
    prove_with,
    public_claim,
    rank,
    renewed,
    simulate,
    simulate_opening,
    solve,
    verify_with,
    view,
)

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import DEGREE, Ext
from zkjax.algebra.field import P, root_of_unity
from zkjax.circuit.parts import CELLS, OTHER, PARAMETERS
from zkjax.errors import VerificationError
from zkjax.proofs.checks import make_plan
from zkjax.protocol.argument import argument
from zkjax.protocol.hidden import Hidden, Pad
from zkjax.protocol.transcript import Reader

C = "challenges"
CASES = ("plain", "momentum", "draws", "forms")


@pytest.fixture(scope="module", params=[*CASES, pytest.param("given", marks=pytest.mark.slow)])
def case(request) -> Iterator[Case]:
    """Circuits with what makes proofs differ."""
    with formed():
        yield Case.of(request.param)


plain = pytest.mark.parametrize("case", ["plain"], indirect=True)


@pytest.fixture(scope="module")
def circuit(case):
    return case.circuit


@pytest.fixture(scope="module")
def runs(case):
    """Two witnesses of the same public statement: other weights and other data."""
    return [renewed(case.run(start), "run") for start in case.starts]


@pytest.fixture(scope="module")
def permuted(case):
    """Two witnesses with the same revealed outputs: hidden neurons or outputs stand in another order."""
    return [renewed(case.run(start), "run") for start in case.alike]


@pytest.fixture(scope="module")
def trials(runs):
    return [prove_with(renewed(run, "run"), C, name="trial") for run in runs]


@pytest.fixture(scope="module")
def masking(trials):
    return Masking.of(trials[0].hidden)


@pytest.fixture(scope="module")
def difference(trials, masking):
    """f(first witness) - f(second witness): what the pads have to hide."""
    return field.sub(*(masking.unmasked(view(t.argument), t.masks) for t in trials))


@pytest.fixture(scope="module")
def opening(trials):
    return Opening(trials[0].claim, C)


def public(proof) -> dict:
    """The statement without digests, which are of hiding commitments."""
    fields = proof.statement.to_json()
    del fields["dataset"], fields["dataset_after"]
    frozen = [fields["frozen"]["commitment"]] if fields["frozen"] else []
    for commitment in (fields["initial"], fields["final"], *frozen, *fields["shards"], *(link["to"] for link in fields["links"])):
        del commitment["root"]
    return fields | {"siblings": len(fields["siblings"])}


def test_circuits_have_what_they_are_for(case, circuit, runs, trials):
    """What a change of the circuits might lose."""
    plan, later = make_plan(circuit, trials[0].proof.statement), case.before > 0
    opened = {name: tuple(held) for name, held in plan.layouts.items() if not name.startswith("shard")}
    kinds = {key[0] for key in plan.advice}
    assert ("form range" in kinds) == (case.width > 0)
    if circuit.recurrent:
        assert opened == {"initial": (PARAMETERS, OTHER)[: 1 + later], "final": (PARAMETERS, OTHER), "frozen": (CELLS,)}
        assert kinds >= {"final remainder", "final range"} and plan.given != later
        assert {"hat", "hat remainder", "hat range"} <= kinds if later else "hat" not in kinds
    else:
        assert opened == {"initial": (PARAMETERS,), "final": (PARAMETERS,)}
    if circuit.of("sign"):
        signs = [run.witness().values[circuit.of("sign")[0]] for run in runs]
        assert signs[0].any(axis=(0, 1)).all() and not signs[1][..., 1].any()  # a dead neuron
    for draw in (circuit.nodes[i].operation for i in circuit.of("draw")):
        drawn = draw.values(draw.keys(0, 2))
        assert len(np.unique(drawn)) > 1 and not np.array_equal(*drawn)


# ---- 1. the argument's messages are uniform ---------------------------------------------------------------------------------
def test_pads_enter_linearly(runs, trials, masking):
    """The prover is f(witness) - L r for both witnesses: checked at random r, where maps of low degree differ if at all."""
    for run, trial in zip(runs, trials, strict=True):
        again = prove_with(renewed(run, "run"), C, name="other pads")
        assert np.array_equal(Masking.of(trial.hidden).matrix, masking.matrix)
        for name, values in masking.randomness(masking.vector(trial.masks)).items():
            assert np.array_equal(values, trial.randomness[name])  # pads, a and b are what was drawn
        values = [masking.unmasked(view(t.argument), t.masks) for t in (trial, again)]
        assert np.array_equal(*values)
        assert not np.intersect1d(view(trial.argument), view(again.argument)).size


def test_the_argument_is_uniform(case, trials, masking, difference):
    assert rank(masking.matrix) == len(masking.matrix)
    values = difference.reshape(-1, DEGREE)
    same = [label for (label, _, _), x in zip(trials[0].hidden.received, values) if not x.any()]
    # Every true scalar depends on the witness, but for what is public: a factor that is a draw, and denominators of table entries
    # and padding, where these fill half of a layer.
    assert same == (["lookup values"] * 3 + ["level 2 values"] if case is Case.of("draws") else [])
    assert not values[-2:].any()  # A(z), B(z) do not


def hides(matrix, difference) -> bool:
    """Whether randomness can turn one witness's view into the other's; else the view tells them apart."""
    return solve(matrix, difference) is not None


def merged(masking, first: Pad, second: Pad):
    """One random element serves for both."""
    matrix = masking.matrix.copy()
    at, gone = masking.columns[first], masking.columns[second]
    matrix[:, at : at + 2] = field.add(matrix[:, at : at + 2], matrix[:, gone : gone + 2])
    return dataclasses.replace(masking, matrix=np.where(np.isin(np.arange(matrix.shape[1]), [gone, gone + 1]), np.uint64(0), matrix))


def without(masking, pads, components=(0, 1)):
    """These elements (or components of them) are 0."""
    matrix = masking.matrix.copy()
    matrix[:, [masking.columns[pad] + c for pad in pads for c in components]] = 0
    return dataclasses.replace(masking, matrix=matrix)


def z_on_a_point(masking, slot: int):
    """A(z) = a_slot, B(z) = b_slot."""
    matrix = masking.matrix.copy()
    matrix[-4:] = 0
    for row, name in ((-4, "a"), (-2, "b")):
        at = masking.columns[Pad(name, slot)]
        matrix[row, at] = matrix[row + 1, at + 1] = P - 1
    return dataclasses.replace(masking, matrix=matrix)


def test_broken_masking_leaks(case, trials, masking, difference):
    used = trials[0].hidden.counts()
    slots = 1 << used.log_triples
    pads = [pad for pad in masking.columns if pad.vector == "pad"]
    idle = [Pad(name, slot) for name in "ab" for slot in (0, *range(used.triples + 1, slots))]
    broken = {
        "one pad for two messages": merged(masking, pads[3], pads[4]),
        "one pad for messages far apart": merged(masking, pads[0], pads[-1]),
        "one triple for two products": merged(merged(masking, Pad("a", 1), Pad("a", 2)), Pad("b", 1), Pad("b", 2)),
        "no reserved slot": without(masking, idle),
        "no reserved slot for b": without(masking, [pad for pad in idle if pad.vector == "b"]),
        "a triple's a as a pad": merged(masking, pads[0], Pad("a", 1)),
        "pads over F": without(masking, pads, components=(1,)),
        "z on a triple's point": z_on_a_point(masking, 1),
    }
    assert hides(masking.matrix, difference)
    for name, variant in broken.items():
        assert not hides(variant.matrix, difference), name
    assert hides(z_on_a_point(masking, 0).matrix, difference)  # the reserved slot reveals nothing
    secret = [pad for (_, pad, _), x in zip(trials[0].hidden.received, difference.reshape(-1, DEGREE)) if x.any()]
    for pad in secret[:: 1 if case is Case.of("plain") else 7]:  # a case takes seconds
        assert not hides(without(masking, [pad]).matrix, difference), f"{pad} is 0: its message is sent as it is"


def test_masks_of_two_proofs_leak_if_equal(runs, masking, difference):
    """The same pads and triples under two sequences of challenges; fresh ones hide."""
    others = [prove_with(renewed(run, "run"), "other challenges", name="trial") for run in runs]
    second = Masking.of(others[0].hidden)
    both = np.concatenate([difference, field.sub(*(second.unmasked(view(t.argument), t.masks) for t in others))])
    zero = np.zeros_like(second.matrix)
    assert not hides(np.concatenate([masking.matrix, second.matrix]), both)
    assert hides(np.block([[masking.matrix, zero], [zero, second.matrix]]), both)


# ---- 2. what the opening proves is public -----------------------------------------------------------------------------------
def test_the_openings_claim_is_a_function_of_the_view(circuit, trials):
    for trial in trials:
        statement = trial.proof.statement
        claim = public_claim(make_plan(circuit, statement), statement, Reader(Programmed(C), trial.proof.body))
        assert claim.value == trial.claim.value
        for mine, theirs in zip(claim.weights, trial.claim.weights, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


# ---- 3. the opening's messages are uniform on a coset -----------------------------------------------------------------------
def free_coordinates(claim, challenges) -> int:
    """What ``simulate_opening`` samples: rounds, h, hp, s*, r*, opened cells of F and of S."""
    geometry, opened = claim.geometry, [c.opens for c in claim.committed]
    with ending_with_h():
        stream = Recorder(Programmed(challenges))
        simulate_opening(stream, geometry, opened, claim.weights, claim.value, np.random.default_rng(0))
    sizes = Counter()
    for label, values in stream.messages:
        sizes[label] += 0 if isinstance(values, bytes) else len(values)
    columns = sizes["columns"] // sum(x.entries for x in claim.parts)
    return sizes.total() - sizes["mu"] - 2 * DEGREE * columns  # mu, and G and S' at the points, follow


def random_cells(claim, rng, count: int):
    """Random cells of all opened parts, ``count`` times, and the two components of each <cells, W>."""
    cells = [[rng.integers(0, P, x.rows.shape, dtype=np.uint64) for x in claim.parts] for _ in range(count)]
    claims = []
    for x in cells:
        total = [np.uint64(0)] * 2
        for rows, weights in zip(x, claim.weights, strict=True):
            total = [field.add(np.array([t]), field.sum(field.mul(w, rows)).reshape(1))[0] for t, w in zip(total, weights, strict=True)]
        claims.append(total)
    return cells, np.array(claims, dtype=np.uint64).T


def leak(matrix, images, claims) -> int:
    """How much more than the claims the view determines about these cells, after all that ``matrix`` can hide."""
    pivots, reduced = eliminate(np.concatenate([matrix, images], axis=1), matrix.shape[1])
    rest = reduced[len(pivots) :, matrix.shape[1] :]
    return rank(np.concatenate([claims, rest])) - rank(claims)


@pytest.fixture(scope="module")
def cells(trials, opening):
    """Eight random choices of all cells, as columns of the view, and their claims: a leak of up to six shows almost surely."""
    chosen, claims = random_cells(trials[0].claim, np.random.default_rng(1), 8)
    return np.stack([opening.view(x, {}) for x in chosen], axis=1), claims


def test_the_opening_is_what_was_probed(trials, opening):
    """E cells + R randomness is what the proof holds, up to the columns; what follows is a function of h."""
    parts = trials[0].claim.parts
    sent = field.add(opening.view([x.rows for x in parts], {}), multiply(opening.matrix, opening.vector(trials[0].randomness)))
    messages = [(label, values) for label, values in trials[0].opening if not isinstance(values, bytes)]
    in_clear = ("row round", "mu", "folded padding", "folded pads")
    before = view([m for m in messages if m[0] in in_clear])
    columns = view([m for m in messages if m[0] == "columns"][: len(parts)])
    assert np.array_equal(sent[: len(before)], before)
    assert np.array_equal(sent[len(before) + DEGREE * TOY.row :], columns)


def test_the_opening_hides_all_cells(trials, opening, cells):
    """Nothing but the two claims over F is determined, by any cells: pads, triples and c included."""
    images, claims = cells
    assert leak(opening.matrix, images, claims) == 0
    assert rank(opening.matrix) == free_coordinates(trials[0].claim, C)
    pivots, reduced = eliminate(np.concatenate([opening.matrix, images], axis=1), opening.matrix.shape[1])
    assert rank(reduced[len(pivots) :, opening.matrix.shape[1] :]) == DEGREE  # the claims are determined


def test_broken_openings_leak(trials, opening, cells):
    images, claims = cells
    q, k, padding = TOY.queries, TOY.row, 4 * TOY.queries
    rounds = sum(label == "row round" for label, _ in trials[0].opening)
    g, s = np.arange(2 * (k + padding)), np.arange(2 * (2 * rounds + q))
    s_at = s % (2 * rounds + q)
    rows = trials[0].claim.parts[-1].part.rows
    broken = {
        "mask row over F": (("trace", "mask g"), g < k + padding),
        "G with k coefficients": (("trace", "mask g"), g % (k + padding) < k),  # k + q leak over several proofs only
        "first round without pads": (("trace", "mask s"), s_at >= 2),
        "last round without its second pad": (("trace", "mask s"), s_at != 2 * rounds - 1),
        "S with q - 1 random coefficients": (("trace", "mask s"), s_at != 2 * rounds),
        "s' zero": (("trace", "mask s'"), s_at >= 2 * rounds),
        "random part of S' zero": (("trace", "mask s'"), s_at < 2 * rounds),
        "trace rows with q - 1 random coefficients": (("trace", "padding"), np.arange(rows * q) % q != 0),
    }
    shared = [role for role in trials[0].claim.roles if role != "trace"]
    for role in shared:  # both parts of weights, frozen weights and shards
        assert trials[0].claim.parts[trials[0].claim.roles.index(role)].padding.shape == (1, padding)
        broken[f"{role} without random coefficients"] = (role, "padding"), np.arange(padding) < 0
        broken[f"{role} with q - 1 random coefficients"] = (role, "padding"), np.arange(padding) < q - 1
    for name, (where, stays) in broken.items():
        matrix = opening.matrix.copy()
        matrix[:, opening.columns[where]] *= stays.astype(np.uint64)
        assert leak(matrix, images, claims) > 0, name
    for pair in itertools.combinations(shared, 2):  # both parts of one tree among them
        matrix, (one, other) = opening.matrix.copy(), [opening.columns[role, "padding"] for role in pair]
        matrix[:, one] = field.add(matrix[:, one], matrix[:, other])
        matrix[:, other] = 0
        assert leak(matrix, images, claims) > 0, f"one stream of random coefficients for {pair}"


# ---- both together: one proof, two witnesses ----------------------------------------------------------------------------------
@pytest.mark.parametrize("revealing", [False, True])
def test_two_witnesses_have_the_same_views(case, runs, permuted, opening, revealing):
    """For all randomness of the first witness's proof there is randomness of the second's with the same messages.

    It is found by adding a constant (that depends on the witnesses and, for the opening, on the argument's messages): a
    bijection, so the views have the same distribution. The second proof is then made with it: all that is sent in the
    clear is equal bit by bit, only hashes differ. With revealed losses the witnesses differ by the order of neurons.
    """
    pair, reveal = (permuted, case.reveal) if revealing else (runs, ())
    first = prove_with(renewed(pair[0], "run"), C, name="trial", reveal=reveal)
    second = prove_with(renewed(pair[1], "run"), C, name="another", reveal=reveal)
    assert public(first.proof) == public(second.proof)
    masking = Masking.of(first.hidden)
    values = [masking.unmasked(view(t.argument), t.masks) for t in (first, second)]
    shift = solve(masking.matrix, field.sub(values[1], values[0]))
    chosen = masking.randomness(field.add(masking.vector(first.masks), shift))
    second = prove_with(renewed(pair[1], "run"), C, chosen, name="another", reveal=reveal)
    assert np.array_equal(view(second.argument), view(first.argument))
    assert second.claim.value == first.claim.value

    opening = Opening(first.claim, C) if revealing else opening
    views = [opening.view([x.rows for x in t.claim.parts], {}) for t in (first, second)]
    assert not np.array_equal(*views)
    shift = solve(opening.matrix, field.sub(*views))
    chosen |= opening.randomness(field.add(opening.vector(first.randomness), shift))
    third = prove_with(renewed(pair[1], "run"), C, chosen, name="another", reveal=reveal)
    assert np.array_equal(view(third.argument), view(first.argument))
    assert np.array_equal(view(third.opening), view(first.opening))
    roots = [[values for label, values in t.opening if label == "level root"] for t in (first, third)]
    assert roots[0] == roots[1]
    assert verify_with(case.circuit, third.proof, C) == third.proof.statement
    assert third.proof.statement.final != first.proof.statement.final


# ---- 4. proofs without a witness ------------------------------------------------------------------------------------------------
geometries = pytest.mark.parametrize("case, geometry", [*((name, TOY) for name in CASES), ("plain", SMALL)], indirect=["case"])


@geometries
def test_simulated_proofs_are_accepted(circuit, runs, geometry):
    """Challenges known in advance stand in for a witness; even false losses are then accepted. The hash prevents it."""
    run = renewed(runs[0], "run", geometry)
    losses = ((1, -1), *[None] * (len(circuit.losses) - 1))
    statement = dataclasses.replace(prove_with(run, C, name="trial").proof.statement, losses=losses)
    rng = np.random.default_rng(7)
    proofs = [simulate(circuit, statement, C, rng) for _ in range(2)]
    for proof in proofs:
        assert verify_with(circuit, proof, C) == proof.statement
        assert public(proof) == public(zkjax.Proof(statement, b""))
        with pytest.raises(VerificationError):
            verify_with(circuit, proof, "other challenges")
        with pytest.raises(VerificationError):
            verify_with(circuit, proof)


def test_simulated_openings_are_distributed_as_real_ones(trials, opening):
    """For one claim: every simulated view lies in the real views' coset, and there are as many of them."""
    claim = trials[0].claim
    real = opening.view([x.rows for x in claim.parts], {})
    opened, rng = [c.opens for c in claim.committed], np.random.default_rng(3)
    for _ in range(3):
        stream = Recorder(Programmed(C))
        with ending_with_h():
            simulate_opening(stream, claim.geometry, opened, claim.weights, claim.value, rng)
        assert hides(opening.matrix, field.sub(view(stream.messages), real))
        wrong = field.add(view(stream.messages), np.eye(1, len(real), dtype=np.uint64)[0])
        assert not hides(opening.matrix, field.sub(wrong, real))
    assert rank(opening.matrix) == free_coordinates(claim, C)


# ---- each pad once ----------------------------------------------------------------------------------------------------------------
def check_pads(hidden: Watched, messages: list) -> None:
    """Every scalar that was sent has a pad of its own, which is what was subtracted; slot 0 has no product."""
    counts, pads = hidden.counts(), [pad for _, pad, _ in hidden.received]
    slots = range(1, counts.triples + 1)
    factors = {Pad(name, slot) for name in "ab" for slot in slots}
    assert Counter(pads) == Counter({Pad("pad", i) for i in range(counts.pads)} | factors), "a pad is used twice, or not at all"
    assert counts.triples < 1 << counts.log_triples, "no slot is left to hide A(z), B(z)"
    leaves = Counter(form.leaf for form in hidden.tape if isinstance(form.leaf, Pad))
    assert leaves == Counter({*pads, *(Pad("c", 2 * slot) for slot in slots)}), "a pad appears in two forms"
    if hidden.masks is None:
        return
    sent = [(label, values) for label, values in messages if label != "triple values"]
    assert len(messages) == len(sent) + 1 and len(messages[-1][1]) == 4, "something else was sent"
    assert len(view(sent)) == DEGREE * len(pads), "a scalar was sent without a pad"
    elements = [Ext(int(a), int(b)) for a, b in view(sent).reshape(-1, DEGREE)]
    for element, (label, pad, form) in zip(elements, hidden.received, strict=True):
        assert form.value - element == hidden.masks[pad.vector][pad.index], f"{label}: not the pad of the form"


@pytest.mark.parametrize("name", GRAPHS)
def test_every_pad_is_used_once_in_every_graph(name):
    loss, params, data = GRAPHS[name]
    small = zkjax.Precision(activation_scale=4, activation_bits=7, gradient_scale=5, gradient_bits=8, table_bits=9)
    _, run = make_run(loss, params, data, batch=3, steps=2, precision=small)
    every_pad_is_used_once(run)


def test_every_pad_is_used_once(runs):
    every_pad_is_used_once(runs[0])


def every_pad_is_used_once(run):
    losses = tuple(zip(*run.loss_integers, strict=True))
    liar = Liar(run, losses)
    counter, prover_, messages = argue(liar)
    for hidden in (counter, prover_):
        check_pads(hidden, messages)
    assert counter.counts() == prover_.counts()
    body = b"".join(values.astype("<u8").tobytes() for _, values in messages)
    verifier = Watched(Reader(Programmed(C), body))
    argument(verifier, liar.plan, losses, drawn=drawn_for(liar.plan, Programmed(C)))
    verifier.finish()
    check_pads(verifier, [])
    assert [(label, pad) for label, pad, _ in verifier.received] == [(label, pad) for label, pad, _ in prover_.received]


class SharedPad(Watched):
    def receive(self, label, count, values=None):
        if self.pads == 7:
            self.pads = 6
        return super().receive(label, count, values)


class SharedTriple(Watched):
    def receive_product(self, label, values=None):
        if self.triples == 3:
            self.triples = 2
        return super().receive_product(label, values)


class NoReservedSlot(Watched):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.triples = -1


class Unpadded(Watched):
    def receive(self, label, count, values=None):
        if label != "lookup round":
            return super().receive(label, count, values)
        known = [None] * count
        if self.proving:
            known = values()
            self.stream.elements(label, count, ext.stack(known))
        return [self.public(0 if v is None else v) for v in known]


class AnotherPad(Watched):
    """The form names a pad that was not subtracted."""

    def _masked(self, label, pads, values):
        forms = super()._masked(label, pads, values)
        if label == "lookup root" and self.proving:
            self.received[-1] = (label, Pad("pad", 1), forms[-1])
        return forms


@pytest.mark.parametrize("kind", [Watched, SharedPad, SharedTriple, NoReservedSlot, Unpadded, AnotherPad])
def test_broken_pads_are_noticed(runs, kind):
    counter, prover_, messages = argue(Liar(runs[0]), kind)
    if kind is Watched:
        return check_pads(prover_, messages)
    with pytest.raises(AssertionError):
        check_pads(prover_, messages)


@plain
def test_z_on_the_triples_domain_is_refused(runs):
    """By prover and verifier, before A and B are sent: at an even point A(z) would be a triple's own a."""
    order = 2 << argue(Liar(runs[0]))[0].counts().log_triples
    root = root_of_unity(order.bit_length() - 1)

    class Bad(Programmed):
        def challenge(self, label):
            return Ext(pow(root, self.exponent, P)) if label == "triple point" else super().challenge(label)

    liar = Liar(runs[0])
    _, _, messages = argue(liar)
    body = b"".join(values.astype("<u8").tobytes() for _, values in messages)
    for Bad.exponent in (0, 1, 2, order - 1):
        transcript = Bad(C)
        with pytest.raises(VerificationError, match="triple point"):
            argue(liar, transcript=transcript)
        verifier = Hidden(Reader(Bad(C), body))
        argument(verifier, liar.plan, drawn=drawn_for(liar.plan, Programmed(C)))
        with pytest.raises(VerificationError, match="triple point"):
            verifier.finish()


# ---- nothing twice ------------------------------------------------------------------------------------------------------------------
def test_proofs_share_nothing(case):
    """Two proofs of a run, and one of another run: no scalar behind a pad, no pad, mask, random coefficient or salt twice."""
    drawn, token_bytes = [], secrets.token_bytes

    def recorded(count):
        drawn.append(token_bytes(count))
        return drawn[-1]

    with mock.patch("secrets.token_bytes", recorded):
        first, second = map(case.run, case.starts)
        first.chain.geometry = second.chain.geometry = TOY
        trials = [prove_with(run) for run in (first, first, second)]
    assert len(drawn) == len(set(drawn))
    seeds = [value for value in drawn if len(value) == 32]  # the others name commitments
    chunks = 1 + (case.before > 0)
    assert len(seeds) == 2 * (2 + chunks) + 3 * 2  # of a chain: data, and weights before and after each chunk; of a proof: trace and masks
    everything = [value for trial in trials for value in fresh_values(trial)]
    assert len(everything) == len(set(everything)) > 3 * 1000
    paddings = [np.concatenate([x.padding.reshape(-1) for x in t.claim.parts[:-1]]).tolist() for t in trials]
    assert all(len(x) == len(set(x)) for x in paddings)  # no two parts have one in common
    assert paddings[0] == paddings[1] and not set(paddings[0]) & set(paddings[2])  # the run's own commitments, and another's
    salts = [{salt for x in t.claim.parts for salt in pieces(x.salts(range(TOY.code)))} for t in trials]
    parts = len(trials[0].claim.parts)
    assert len(salts[0] & salts[1]) == (parts - 1) * TOY.code and not salts[0] & salts[2]
    assert all(len(s) == parts * TOY.code for s in salts)
    openings = [set(view([m for m in t.opening if m[0] not in ("columns", "final vector")]).tolist()) for t in trials]
    assert not openings[0] & openings[1] and not openings[0] & openings[2] and not openings[1] & openings[2]


def pieces(raw: bytes) -> list[bytes]:
    return [raw[i : i + 16] for i in range(0, len(raw), 16)]


@plain
def test_processes_that_share_a_run_share_no_randomness(runs, tmp_path):
    """Two processes prove the same saved run at the same time."""
    renewed(runs[0], "shared").save(tmp_path)
    code = "import sys, zero_knowledge; zero_knowledge.print_fresh_values(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path)]
    children = [subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE) for _ in range(2)]
    values = [value for child in children for value in json.loads(child.communicate()[0])]
    assert all(child.returncode == 0 for child in children)
    assert len(values) == len(set(values)) > 2 * 1000
    spent = json.loads((tmp_path / "openings.json").read_text())["spent"]
    assert set(spent.values()) == {2}


def test_secrets_come_from_the_operating_system():
    """No module draws from a generator; that of JAX gives the words of a user's public keys only."""
    root = Path(zkjax.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text())
        words = {"key_data", "wrap_key_data", "key_impl"}
        harmless = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in words}
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            attribute = isinstance(node, ast.Attribute) and node.attr == "random" and id(node) not in harmless
            if attribute or any("random" in name.split(".") for name in names):
                found.add(path.name)
    assert found == set()


# ---- statistics ---------------------------------------------------------------------------------------------------------------------
# Twelve proofs for each of eight values: where one value is twice as likely as it should be, the statistic is 14 more on average.
PROOFS, BINS, LEVEL = 96, 8, 1e-6


def groups_of_bits(values: np.ndarray):
    """Three groups of three bits of uniform elements of F, each uniform up to 2^-29."""
    return [(values >> np.uint64(shift)) & np.uint64(BINS - 1) for shift in (0, 30, 61)]


def counts_of(bits: np.ndarray) -> np.ndarray:
    """How often each value occurs in each column: (8, columns)."""
    return np.stack([(bits == b).sum(axis=0) for b in range(BINS)])


def uniform_p(values: np.ndarray) -> float:
    """The least p-value over columns and groups of bits that each column is uniform."""
    expected = len(values) / BINS
    return min(stats.chi2.sf(((counts_of(b) - expected) ** 2 / expected).sum(axis=0), BINS - 1).min() for b in groups_of_bits(values))


def same_p(a: np.ndarray, b: np.ndarray) -> float:
    """The least p-value over columns and groups of bits that both samples, of equal size, have one distribution."""
    found = []
    for first, second in zip(map(counts_of, groups_of_bits(a)), map(counts_of, groups_of_bits(b)), strict=True):
        statistic = ((first - second) ** 2 / np.maximum(first + second, 1)).sum(axis=0)
        found.append(stats.chi2.sf(statistic, BINS - 1).min())
    return min(found)


@pytest.fixture(scope="module")
def many(runs) -> list[list[Trial]]:
    """Half of the proofs of each witness, under the same challenges."""
    trials = []
    for which, run in enumerate(runs):
        name = [f"proof {i} of {which}" for i in range(PROOFS // 2)]
        trials.append([prove_with(renewed(run, n), C, name=n) for n in name])
    return trials


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_all_messages_look_uniform(many):
    """Given the challenges, at every position, for both witnesses; from the lookups to the last message of the opening."""
    views = [np.stack([np.concatenate([view(t.argument), view(t.opening)]) for t in trials]) for trials in many]
    assert views[0].shape == views[1].shape
    assert uniform_p(np.concatenate(views)) > LEVEL
    assert same_p(*views) > LEVEL


@pytest.mark.slow
@plain
def test_statistics_notice_bad_pads(many, masking):
    """Controls: one message without its pad, with a pad over F, with a pad of 60 bits, with pads for one witness only."""
    sent = [np.stack([view(t.argument)[:2] for t in trials]) for trials in many]
    first = masking.columns[Pad("pad", 0)]
    pads = [np.stack([masking.vector(t.masks)[first : first + 2] for t in trials]) for trials in many]
    true = [field.add(s, p) for s, p in zip(sent, pads, strict=True)]
    assert all((t == t[0]).all() for t in true) and (true[0][0] != true[1][0]).all()
    over_f = [np.stack([s[:, 0], t[:, 1]], axis=1) for s, t in zip(sent, true, strict=True)]
    short = [field.sub(t, p >> np.uint64(4)) for t, p in zip(true, pads, strict=True)]
    for bad in (true, over_f, short):
        assert uniform_p(np.concatenate(bad)) < LEVEL
    for bad in (true, over_f, [sent[0], true[1]]):
        assert same_p(*bad) < LEVEL


@plain
def test_proofs_with_their_own_challenges(circuit, runs):
    """Fiat-Shamir: all messages of a few proofs together."""
    values = []
    for which, run in enumerate(runs):
        for i in range(4):
            trial = prove_with(renewed(run, f"{i}"), name=f"own challenges {i} of {which}")
            verify_with(circuit, trial.proof)
            values.append(np.concatenate([view(trial.argument), view(trial.opening)]))
    flat = [np.concatenate(values[half])[:, None] for half in (slice(0, 4), slice(4, 8))]
    assert uniform_p(np.concatenate(flat)) > LEVEL
    assert same_p(*[x[: min(map(len, flat))] for x in flat]) > LEVEL


# ---- sizes --------------------------------------------------------------------------------------------------------------------------
@geometries
def test_sizes_are_public(runs, geometry):
    """Messages, their order and their lengths depend on public values and challenges only."""
    trials = [prove_with(renewed(run, "run", geometry), C, name="trial") for run in runs]
    shapes = [[(label, len(values)) for label, values in t.argument + t.opening] for t in trials]
    assert shapes[0] == shapes[1]
    assert trials[0].proof.nbytes == trials[1].proof.nbytes
    assert public(trials[0].proof) == public(trials[1].proof)
    trials = [prove_with(renewed(run, "run", geometry), name="trial") for run in runs]
    queried = ("salts", "columns", "siblings")  # as many as there are different queries, which are challenges
    shapes = [[(label, len(values) * (label not in queried)) for label, values in t.argument + t.opening] for t in trials]
    assert shapes[0] == shapes[1]
