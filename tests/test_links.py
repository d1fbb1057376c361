"""Replaced commitments: links that ride on proofs, chains that count linked commitments as one, and forgeries that each rule stops.

A forgery is shown twice: refused, and accepted once the rule that stops it is taken out of prover and verifier.
"""

import dataclasses
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from harness import BITS, data_for, make_run, mlp_loss, mlp_params, prove_small, verify_small
from reference import verifier as reference
from tiny import TINY, next_run, tiny_run

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.poly import eq_vector
from zkjax.commitment.commit import members
from zkjax.commitment.keys import BUDGETS, MAX_BUDGET
from zkjax.errors import FormatError, VerificationError
from zkjax.proofs import links
from zkjax.proofs.links import Classes
from zkjax.protocol.hidden import Hidden
from zkjax.protocol.links import LinkClaims
from zkjax.prover import commitments
from zkjax.prover.prove import fix_geometry


@cache
def chain(length=7):
    """(circuit, runs, proofs) on three shards, long enough for every shard to be replaced."""
    circuit, run = tiny_run(shard_size=5)
    runs, proofs = [], []
    for _ in range(length):
        runs.append(run)
        proofs.append(prove_small(circuit, run))
        run = next_run(circuit, run)
    return circuit, runs, proofs


@cache
def thrice():
    """(circuit, run, proofs): the third proof of one run replaces all that it opens."""
    circuit, run = tiny_run(shard_size=5)
    return circuit, run, [prove_small(circuit, run) for _ in range(3)]


def sources(proof) -> list[str]:
    return [link.source for link in proof.statement.links]


def refused(check: str, circuit, proof, **options):
    with pytest.raises(VerificationError) as caught:
        verify_small(circuit, proof, **options)
    assert caught.value.check == check, caught.value
    proofs = proof if isinstance(proof, list) else [proof]
    if not options:  # a pin is no matter of the second verifier's
        with pytest.raises(reference.Rejected):
            reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)


def accepted(circuit, proof):
    proofs = proof if isinstance(proof, list) else [proof]
    assert verify_small(circuit, proofs) == [p.statement for p in proofs]
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)


# ---- honest proofs --------------------------------------------------------------------------------------------------
def test_a_chain_outlasts_its_budgets():
    circuit, runs, proofs = chain()
    assert runs[0].chain.budget("shard") == 4
    accepted(circuit, proofs)
    read = [shard.number for proof in proofs for shard in proof.statement.shards]
    assert max(read.count(n) for n in range(3)) > 4
    assert {name for proof in proofs for name in sources(proof)} == {"shard 0", "shard 1", "shard 2"}
    for before, after in zip(proofs, proofs[1:]):
        assert after.statement.dataset == before.statement.dataset_after
        assert (before.statement.dataset == before.statement.dataset_after) == (not before.statement.links)
    spent = runs[0].chain.openings.spent
    assert max(spent.values()) <= 4 and sum(spent.values()) == sum(len(members(p.statement.opened())) for p in proofs)


def test_every_commitment_is_opened_within_its_budget():
    circuit, _, proofs = chain()
    _, _, more = thrice()
    for found in (proofs, more):
        parts = [(x.commitment.root, part) for proof in found for x in proof.statement.opened() for part in x.parts]
        assert all(parts.count((root, part)) <= part.budget for root, part in parts)


def test_both_ends_and_all_shards_are_replaced():
    circuit, run, proofs = thrice()
    statement = proofs[2].statement
    assert [sources(proof) for proof in proofs] == [[], [], ["initial", "final", *(f"shard {c.number}" for c in statement.shards)]]
    accepted(circuit, proofs[2])
    assert "Fresh commitments to the same values replace those to the initial weights, the final weights, shard" in str(statement)
    assert "replaced commitments" in str(statement.sheet()) and "replace" not in str(proofs[0].statement)
    following = prove_small(circuit, next_run(circuit, run))
    assert following.statement.initial == statement.links[1].to
    accepted(circuit, [proofs[2], following])
    refused("chain", circuit, [proofs[0], following])


def test_the_ledger_names_links():
    circuit, _, proofs = thrice()
    plain, linked = (dict(zkjax.ledger(circuit, proofs[i]).terms) for i in (0, 2))
    assert set(linked) - set(plain) == {"links"}
    numerator = 10  # log2 of a row of 1024 cells; all matrices have one row
    assert linked["links"] == pytest.approx(2 * np.log2(float(P)) - np.log2(numerator))
    count = {name: 2.0 ** (2 * np.log2(float(P)) - bits["constraints"]) for name, bits in (("plain", plain), ("linked", linked))}
    assert count["linked"] - count["plain"] == pytest.approx(len(proofs[2].statement.links), rel=1e-6)


def test_matrices_of_several_rows(monkeypatch):
    """Three rows of weights: the factors end at the third one, also where the stack has room for a fourth."""
    dims = (30, 40, 30)
    circuit, run = make_run(mlp_loss, mlp_params(dims), data_for(dims), precision=TINY)
    proofs = [prove_small(circuit, run) for _ in range(3)]
    assert [link.to.rows for link in proofs[2].statement.links] == [3, 3, 1]
    accepted(circuit, proofs[2])
    ledger = dict(zkjax.ledger(circuit, proofs[2]).terms)
    assert ledger["links"] == pytest.approx(2 * np.log2(float(P)) - np.log2(12))

    class Longer(LinkClaims):
        def evaluate(self, places, column_point, vectors):
            pairs = tuple(pair._replace(rows=4 if pair.rows == 3 else 1) for pair in self.links.pairs)
            links = dataclasses.replace(self.links, pairs=pairs)
            return LinkClaims(links, self.point, self.scalars).evaluate(places, column_point, vectors)

    monkeypatch.setattr("zkjax.protocol.hidden.LinkClaims", Longer)
    with pytest.raises(VerificationError, match="opening"):
        verify_small(circuit, proofs[2])


# ---- what a link says is proven -------------------------------------------------------------------------------------
def forging(monkeypatch, name, change):
    """A prover whose fresh commitment to ``name`` is to other rows."""
    honest = commitments.Commitments.replacement

    def replacement(self, which):
        if which != name:
            return honest(self, which)
        slot, rows = self.slots[name], self.opened(name).parts[0].rows.copy()
        change(rows)
        return self._commit(slot, self.choice.generation(slot) + 1, [rows])

    monkeypatch.setattr(commitments.Commitments, "replacement", replacement)


def third_proof(monkeypatch, name, change):
    circuit, run = tiny_run(shard_size=5)
    for _ in range(2):
        prove_small(circuit, run)
    with monkeypatch.context() as patch:
        forging(patch, name, change)
        return circuit, prove_small(circuit, run)


def add(*cells):
    """A change: (row, column, integer) are added."""

    def change(rows):
        for row, column, delta in cells:
            rows[row, column] = (int(rows[row, column]) + delta) % P

    return change


def without_link_constraints(patch):
    honest = Hidden.finish

    def finish(self):
        result = honest(self)
        self.linked.scalars[:] = [ZERO] * len(self.linked.scalars)
        return result

    patch.setattr(Hidden, "finish", finish)


@pytest.mark.parametrize("name", ["initial", "final", "shard 0"])
@pytest.mark.parametrize("cell", [(0, 0, 1), (0, 1023, 1), (0, 700, P - 1)])
def test_another_matrix_is_refused(monkeypatch, name, cell):
    """One cell is one more: a tensor's, or a padding cell, which no tensor fills but a later root must not be free in."""
    circuit, proof = third_proof(monkeypatch, name, add(cell))
    assert name in sources(proof)
    refused("opening", circuit, proof)


def test_another_matrix_without_the_constraint(monkeypatch):
    with monkeypatch.context() as patch:
        without_link_constraints(patch)
        circuit, proof = third_proof(monkeypatch, "final", add((0, 0, 1)))
        assert verify_small(circuit, proof) == proof.statement
    refused("opening", circuit, proof)


POINT = [Ext(3 + 2 * i, 5 + 7 * i) for i in range(10)]


def known_point(patch):
    """The point of links is drawn before the roots, so whoever commits knows it."""
    honest = Hidden.challenges
    patch.setattr(Hidden, "challenges", lambda self, label, count: POINT if label == "links" else honest(self, label, count))


def relation():
    """Three integers modulo p, for the columns 0, 1, 2: their sum against the point's weights is 0 in K, which has two coordinates."""
    weights = eq_vector(POINT, 3)
    (a0, a1), (b0, b1), (c0, c1) = zip(*(c.tolist() for c in weights))
    return [(b0 * c1 - c0 * b1) % P, (c0 * a1 - a0 * c1) % P, (a0 * b1 - b0 * a1) % P]


def test_a_point_that_is_known_before_the_roots(monkeypatch):
    change = add(*((0, j, x) for j, x in enumerate(relation())))
    with monkeypatch.context() as patch:
        known_point(patch)
        circuit, proof = third_proof(monkeypatch, "shard 0", change)
        assert verify_small(circuit, proof) == proof.statement
    circuit, proof = third_proof(monkeypatch, "shard 0", change)
    refused("opening", circuit, proof)


def test_the_point_follows_from_both_roots(monkeypatch):
    """And each link has a scalar of its own: two errors do not cancel each other."""
    drawn = []
    honest = Hidden.challenges

    def watched(self, label, count):
        found = honest(self, label, count)
        if label == "links" and self.stream is not None:
            drawn.append(found)
        return found

    monkeypatch.setattr(Hidden, "challenges", watched)
    for change in (add(), add((0, 0, 1)), add((0, 1, 1))):
        third_proof(monkeypatch, "shard 0", change)
    assert len(drawn) == 3 and drawn[0] != drawn[1] != drawn[2] != drawn[0]


def altered(proof, **changes):
    return zkjax.Proof(dataclasses.replace(proof.statement, **changes), proof.body)


def test_links_in_another_order_or_left_out():
    circuit, _, proofs = thrice()
    first, second, *rest = proofs[2].statement.links
    refused("Merkle path", circuit, altered(proofs[2], links=(second, first, *rest)))
    swapped = [dataclasses.replace(a, to=dataclasses.replace(a.to, root=b.to.root)) for a, b in ((first, second), (second, first))]
    assert swapped[0].to.root == second.to.root
    refused("Merkle path", circuit, altered(proofs[2], links=(*swapped, *rest)))
    fewer = altered(proofs[2], links=(), dataset_after=proofs[2].statement.dataset)
    with pytest.raises((VerificationError, FormatError)):
        verify_small(circuit, fewer)
    with pytest.raises(reference.Rejected):
        reference.verify(circuit.to_json(), bytes(fewer), minimum_bits=BITS)


def test_every_place_of_a_link_counts():
    """Each value of a link, of the roots and the siblings is another one: refused by both verifiers."""
    circuit, _, proofs = thrice()
    data = proofs[2].statement.to_json()
    places = [("links", 0, "from"), ("dataset",), ("dataset_after",), ("siblings", 0)]
    count = range(len(data["links"]))
    places += [("links", i, "to", name) for i in count for name in data["links"][0]["to"] if name != "parts"]
    places += [("links", i, "to", "parts", 0, name) for i in count for name in ("name", "rows", "budget")]
    for path in places:
        changed = json.loads(json.dumps(data))
        *above, last = path
        place = changed
        for key in above:
            place = place[key]
        strings = {"from": "shard 1", "kind": "shard", "name": "other"}
        other = {str: strings.get(last, "00" * 32), int: 3, bool: True}
        place[last] = other[type(place[last])] if place[last] != "shard" else "weights"
        text = reference.canonical(changed)
        file = b"zkjaxprf" + struct.pack("<HI", 2, len(text)) + text + proofs[2].body
        with pytest.raises((VerificationError, FormatError)):
            verify_small(circuit, zkjax.Proof.parse(file))
        with pytest.raises(reference.Rejected):
            reference.verify(circuit.to_json(), file, minimum_bits=BITS)


# ---- dataset roots --------------------------------------------------------------------------------------------------
def exchanging(patch):
    """A prover whose new root holds another commitment in the place of a shard that it does not read."""
    honest = commitments.Commitments.dataset

    def dataset(self, links=()):
        root, siblings, after = honest(self, links)
        if links:
            others = (b"x" * 32, *siblings[1:])  # the first sibling is a shard or the padding beside one
            fresh = {n: self.opened(f"shard {n}").commitment.digest(self.geometry) for n in self.plan.batches.shards}
            fresh |= {link.to.number: link.to.digest(self.geometry) for link in links if link.to.kind == "shard"}
            after = commitments.root_from_siblings(fresh, others, self.run.data.samples, self.plan.batches.shard_size)
        return root, siblings, after

    patch.setattr(commitments.Commitments, "dataset", dataset)


def test_another_shard_is_exchanged_under_the_new_root(monkeypatch):
    """What a verifier accepts that takes other siblings for the new root: any."""
    circuit, run = tiny_run(shard_size=5)
    for _ in range(2):
        prove_small(circuit, run)
    with monkeypatch.context() as patch:
        exchanging(patch)
        proof = prove_small(circuit, run)
    refused("dataset after", circuit, proof)
    honest, statement = links.root_from_siblings, proof.statement
    old = {c.number: c.digest(statement.geometry) for c in statement.shards}
    monkeypatch.setattr(links, "root_from_siblings", lambda new, *rest: honest(new, *rest) if new == old else statement.dataset_after)
    assert verify_small(circuit, proof) == statement


def test_roots_that_no_link_joins():
    """A chain goes on with a dataset that a link has led to, and with no other."""
    circuit, _, proofs = chain()
    at = next(i for i, proof in enumerate(proofs) if proof.statement.links)
    refused("chain", circuit, proofs[:at] + proofs[at + 1 :])
    later = proofs[at + 1].statement
    assert later.dataset == proofs[at].statement.dataset_after != proofs[at - 1].statement.dataset
    for name in ("dataset", "dataset_after"):
        with pytest.raises(VerificationError):
            verify_small(circuit, [*proofs[: at + 1], altered(proofs[at + 1], **{name: bytes(32)})])


# ---- what counts as one ---------------------------------------------------------------------------------------------
def test_classes():
    found, names = Classes(), [bytes([i]) for i in range(6)]
    for a, b in ((0, 1), (2, 3), (1, 2), (0, 3), (4, 4)):
        found.join(names[a], names[b])
    for a in range(6):
        for b in range(6):
            assert found.same(names[a], names[b]) == (a == b or max(a, b) < 4)
        assert names[a] in found.of(names[a])
    assert found.of(names[2]) == set(names[:4]) and found.of(names[5]) == {names[5]}


def test_pins_are_met_by_what_links_lead_to():
    circuit, _, proofs = chain()
    first, last = proofs[0].statement, proofs[-1].statement
    assert first.dataset != last.dataset_after
    for dataset in (first.dataset, last.dataset, last.dataset_after):
        verify_small(circuit, proofs, dataset=dataset)
    refused("pinned dataset", circuit, proofs[0], dataset=last.dataset_after)  # nothing here leads there
    circuit, _, proofs = thrice()
    statement = proofs[2].statement
    fresh = {link.source: link.to for link in statement.links}
    assert any(statement.shifts)
    replaced = dataclasses.replace(statement, initial=fresh["initial"], final=fresh["final"])
    verify_small(circuit, proofs[2], initial=replaced.initial_weights, final=replaced.final_weights)
    verify_small(circuit, proofs[2], initial=replaced.initial_state, final=replaced.final_state)
    verify_small(circuit, proofs[2], initial=statement.initial_weights, final=statement.final_state)
    bare = dataclasses.replace(replaced, shifts=(0,) * len(statement.shifts))  # without the shifts it stands for others
    for pin in (bare.initial_weights, bare.initial_state, replaced.final_weights, fresh["initial"].digest(statement.geometry)):
        refused("pinned initial weights", circuit, proofs[2], initial=pin)
    for proof, pin in ((proofs[2], replaced.initial_weights), (proofs[0], replaced.final_weights), (proofs[0], replaced.final_state)):
        refused("pinned final weights", circuit, proof, final=pin)


def test_no_link_counts_before_all_proofs_are_verified():
    """The proof that joins two roots is spoilt: the chain is refused, whatever the statements say."""
    circuit, _, proofs = chain()
    at = next(i for i, proof in enumerate(proofs) if proof.statement.links)
    body = bytearray(proofs[at].body)
    body[40] ^= 1
    with pytest.raises((VerificationError, FormatError)):
        verify_small(circuit, [*proofs[:at], zkjax.Proof(proofs[at].statement, bytes(body)), *proofs[at + 1 :]])


# ---- which commitment is opened -------------------------------------------------------------------------------------
def test_a_chunk_that_is_proven_again_replaces_the_same(tmp_path):
    """Its first proof may be lost after it was returned: those that follow go on from what either one leads to."""
    circuit, run = tiny_run(shard_size=5)
    run.save(tmp_path)
    proofs = [prove_small(circuit, run) for _ in range(4)]
    assert proofs[2].statement == proofs[3].statement and proofs[2].statement.links
    following = prove_small(circuit, next_run(circuit, zkjax.Run.load(tmp_path)))
    for proof in proofs[2:]:
        accepted(circuit, [proof, following])
    fifth = prove_small(circuit, run)  # nothing is left of the first commitments
    assert fifth.statement.initial == proofs[3].statement.links[0].to
    accepted(circuit, [fifth, following])


def test_a_chunk_is_proven_again_after_others_have_replaced_more(tmp_path):
    """The proof of chunk 2 replaced all that it opened and was lost; those of chunks 3 to 5 are finished, and have replaced shards since.

    The new one starts where the lost one did, and leads where it led: so the others go on from it. Saved counters know as much.
    """
    circuit, run = tiny_run(shard_size=5)
    run.save(tmp_path)
    proofs, runs = [prove_small(circuit, run)], [run]
    for _ in range(4):
        runs.append(next_run(circuit, runs[-1]))
        proofs.append(prove_small(circuit, runs[-1]))
    lost = next(i for i, proof in enumerate(proofs) if proof.statement.links)
    assert 0 < lost < 4 and any(proof.statement.links for proof in proofs[lost + 1 :])
    accepted(circuit, proofs)
    gap = [*proofs[:lost], *proofs[lost + 1 :]]
    with pytest.raises(VerificationError, match="chain"):
        verify_small(circuit, gap)
    before = run.chain.openings.replaced
    run.chain.openings.replaced = {}
    run.chain.openings.bind(tmp_path)  # what is on disk is taken over
    assert run.chain.openings.replaced == before
    again = prove_small(circuit, runs[lost])
    assert again.statement.roots == proofs[lost].statement.roots and again.body != proofs[lost].body
    assert set(proofs[lost].statement.links) <= set(again.statement.links)  # last weights, opened by others since, may be replaced now
    accepted(circuit, [*proofs[:lost], again, *proofs[lost + 1 :]])
    shards = run.chain.data.name
    assert run.chain.openings.replaced[shards] == before[shards]


def test_a_proof_that_is_lost_on_the_way_is_made_up_for(monkeypatch):
    """Its units are gone, but nothing counts as replaced: the next one replaces the same, by the same."""
    circuit, run = tiny_run(shard_size=5)
    proofs = [prove_small(circuit, run) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr("zkjax.prover.prove.open_claim", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prove_small(circuit, run)
    assert run.chain.openings.replaced == {}
    second = next_run(circuit, run)
    proof = prove_small(circuit, second)
    both = [f"shard {c.number}" for c in proof.statement.shards if c in proofs[0].statement.shards]
    assert sources(proof) == ["initial", *both] and len(both) > 0
    accepted(circuit, [proofs[1], proof])


def test_another_proof_comes_in_between(monkeypatch):
    """It takes the units that this one had in mind, after it has prepared everything."""
    circuit, run = tiny_run()
    proofs = [prove_small(circuit, run), prove_small(circuit, run := next_run(circuit, run))]
    following = next_run(circuit, run := next_run(circuit, run))
    honest, inner = commitments.Commitments.dataset, []

    def dataset(self, links=()):
        if not inner:
            inner.append(None)
            inner[0] = prove_small(circuit, following)
        return honest(self, links)

    monkeypatch.setattr(commitments.Commitments, "dataset", dataset)
    proofs.append(prove_small(circuit, run))
    assert sources(inner[0]) == ["shard 0"]  # the third opening
    assert proofs[2].statement.shards == (inner[0].statement.links[0].to,)
    accepted(circuit, [*proofs, *inner])


def test_proofs_in_threads_replace_one_after_another():
    """Chunks of one chain, of which several replace shards, each another one, while others are being made."""
    circuit, run = tiny_run(shard_size=5)
    runs = [run]
    while len(runs) < 10:
        runs.append(next_run(circuit, runs[-1]))
    proofs = [prove_small(circuit, run)]
    with ThreadPoolExecutor(4) as pool:
        proofs += pool.map(lambda x: prove_small(circuit, x), runs[1:])
    assert sum(map(len, map(sources, proofs))) > 1
    accepted(circuit, proofs)


def test_what_was_replaced_is_on_disk_before_anybody_has_the_proof(tmp_path):
    circuit, run = tiny_run()
    run.save(tmp_path)
    for _ in range(2):
        prove_small(circuit, run)
    seen = []

    def progress(phase, *_):
        replaced = zkjax.Run.load(tmp_path).chain.openings.replaced
        seen.append((phase, sorted(x.now for x in replaced.values())))

    zkjax.prove(circuit, run, progress=progress, minimum_bits=BITS)
    before = dict(seen[:-1])
    assert set(map(tuple, before.values())) == {()} and "verification" in before
    assert seen[-1] == ("done", [((0, 1),), ((0, 1),), ((2, 1),)])


def test_a_proof_whose_record_cannot_be_written_is_given_to_nobody(tmp_path, monkeypatch):
    circuit, run = tiny_run()
    run.save(tmp_path)
    for _ in range(2):
        prove_small(circuit, run)
    monkeypatch.setattr(type(run.chain.openings), "finish", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        prove_small(circuit, run)
    assert zkjax.Run.load(tmp_path).chain.openings.replaced == {}


def test_fresh_commitments_share_no_randomness():
    """With those that they replace, nor with each other: neither random coefficients nor salts."""
    _, runs, _ = chain()
    kept = [c for c in runs[0].chain._kept.values() if hasattr(c, "parts")]
    assert sum(c.commitment.kind == "shard" for c in kept) > 5
    kept = [x for c in kept for x in c.parts]
    values = np.concatenate([x.padding.reshape(-1) for x in kept])
    assert len(np.unique(values)) == len(values)
    salts = [x.salts([i])[:16] for x in kept for i in range(64)]
    assert len(set(salts)) == len(salts)
    own = [runs[0].chain.secret(f"shard {n}") for n in range(3)]
    assert len({x.seed for x in kept} | {*own}) == len(kept) + 3


def test_budgets_do_not_follow_the_runs_length():
    budgets = []
    for steps in (1, 40):
        _, run = tiny_run(steps=steps)
        run.chain.geometry = None
        fix_geometry(run)
        budgets.append((run.chain.geometry.max_budget, run.chain.budget("shard"), run.chain.budget("weights")))
    assert budgets == [(MAX_BUDGET, BUDGETS["shard"], BUDGETS["weights"])] * 2 == [(8, 6, 4)] * 2


def test_values_behind_links_are_what_they_were():
    """All commitments of a class hold one matrix: the library's own rows."""
    _, run, _ = thrice()
    kept, found = run.chain._kept, 0
    for name, committed in kept.items():
        older = kept.get(name.removesuffix(".1"))
        if name.endswith(".1") and hasattr(committed, "parts"):
            assert all(np.array_equal(a.rows, b.rows) for a, b in zip(committed.parts, older.parts, strict=True))
            assert committed.commitment.root != older.commitment.root
            found += 1
    assert found >= 4


def test_the_same_weights_at_a_point():
    """The short formula of a link's weights against the full sum."""
    from zkjax.algebra.vectors import Vectors
    from zkjax.commitment.commit import stack, within
    from zkjax.protocol.links import Links, Pair

    rng, log_row = np.random.default_rng(0), 3
    rows = [3, 5, 3, 5, 1]
    links = Links((Pair(0, 2, 3), Pair(1, 3, 5)), log_row)
    draw = lambda n: [Ext(int(a), int(b)) for a, b in rng.integers(0, P, (n, 2), dtype=np.uint64)]  # noqa: E731
    offsets, variables = stack(rows)
    assert links.variables == 6
    claims = LinkClaims(links, draw(6), draw(2))
    row_point, column_point = draw(variables), draw(log_row)
    places = [within(row_point, offset, count) for offset, count in zip(offsets, rows)]
    short = claims.evaluate(places, column_point, Vectors())
    full, table, columns = ZERO, ext.unstack(eq_vector(row_point)), ext.unstack(eq_vector(column_point))
    for pair, scalar in zip(links.pairs, claims.scalars):
        high = ext.unstack(eq_vector(claims.high(pair)))
        low = ext.unstack(eq_vector(claims.low))
        for place, sign in ((pair.source, -1), (pair.to, 1)):
            for i in range(pair.rows):
                for j in range(1 << log_row):
                    full = full + scalar * sign * high[i] * low[j] * table[offsets[place] + i] * columns[j]
    assert short == full
