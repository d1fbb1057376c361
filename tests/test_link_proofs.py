"""Proofs of links alone: what they are worth in a chain, what a liar could do without each rule, and how they are made."""

import dataclasses
import fcntl
import json
import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from harness import BITS, prove_small, verify_small
from reference import verifier as reference
from test_links import POINT, accepted, add, altered, forging, refused, relation
from tiny import next_run, tiny_run

import zkjax
from zkjax import verifier
from zkjax.__main__ import main
from zkjax.algebra.extension import ZERO
from zkjax.errors import BudgetError, ConfigurationError, FormatError, RunError, VerificationError
from zkjax.proofs.alone import Dataset
from zkjax.protocol.transcript import Transcript
from zkjax.prover import link as linking


def link(run, names=None, **options):
    return zkjax.link(run, names, minimum_bits=BITS, **options)


@cache
def chain():
    """(circuit, runs, proofs of chunks, proofs of links): what the second chunk opens was replaced between the two."""
    circuit, first = tiny_run(shard_size=5)
    second = next_run(circuit, first)
    proofs = [prove_small(circuit, first)]
    links = [link(first), link(second, ["initial"])]
    return circuit, (first, second), [*proofs, prove_small(circuit, second)], links


def test_links_count_at_any_place():
    circuit, (first, _), (a, b), (x, y) = chain()
    assert b.statement.dataset == x.statement.dataset.root_after != a.statement.dataset == x.statement.dataset.root
    assert b.statement.initial == y.statement.fresh[0] and y.statement.replaced[0] == x.statement.fresh[1] != a.statement.final
    for order in ([a, x, b, y], [x, y, a, b], [a, b, y, x], [x, x, a, y, b]):
        accepted(circuit, order)
    refused("chain", circuit, [a, b])
    refused("chain", circuit, [a, b, x])
    refused("chain", circuit, [a, b, y])
    refused("chain", circuit, [b, x, y, a], assume_bound=True)  # chunks keep their order
    accepted(circuit, [a, x])


def test_the_second_verifier_has_the_same_ledger():
    circuit, _, (a, b), links = chain()
    files = [bytes(p) for p in (a, b, *links)]
    for proof, theirs in zip((a, b, *links), reference.verify_chain(circuit.to_json(), files, minimum_bits=BITS)):
        ours = dict(zkjax.ledger(circuit, proof).terms)
        assert set(ours) == set(theirs) and all(2.0 ** -ours[name] == pytest.approx(float(theirs[name])) for name in ours)
    assert "constraints" not in dict(zkjax.ledger(circuit, links[1]).terms)  # one link needs no combination


def test_pins_follow_them():
    circuit, _, (a, b), links = chain()
    both = [a, b, *links]
    verify_small(circuit, both, dataset=links[0].statement.dataset.root_after)
    replaced = dataclasses.replace(a.statement, initial=links[0].statement.fresh[0])
    for pin in (replaced.initial_weights, replaced.initial_state):
        verify_small(circuit, both, initial=pin)
        refused("pinned initial weights", circuit, a, initial=pin)


def test_files_and_what_is_printed(tmp_path, capsys):
    circuit, _, (a, b), links = chain()
    circuit.save(tmp_path / "circuit.json")
    for name, proof in zip(("z", "y", "a", "b"), (a, b, *links)):  # links come first in the directory
        proof.save(tmp_path / f"{name}.proof")
        assert zkjax.Proof.load(tmp_path / f"{name}.proof") == proof
    published = zkjax.Published.of({"a": links[0].statement, "z": a.statement, "y": b.statement, "b": links[1].statement})
    published.save(tmp_path / "statement.json")
    assert [item["file"] for item in published.content["proofs"]] == ["z", "y", "a", "b"]
    arguments = ["verify", str(tmp_path), "--circuit", str(tmp_path / "circuit.json"), "--minimum-bits", str(BITS)]
    assert main([*arguments, "--statement", str(tmp_path / "statement.json")]) == 0
    assert "VALID: 4 proofs" in capsys.readouterr().out
    assert main([*arguments, "--json", "--ledger"]) == 0
    assert len(json.loads(capsys.readouterr().out)["statements"]) == 4
    assert main(["inspect", str(tmp_path / "a.proof"), "--circuit", str(tmp_path / "circuit.json")]) == 0
    assert "replace those to the weights before step 0" in capsys.readouterr().out
    assert main([*arguments[:1], str(tmp_path / "a.proof"), *arguments[2:]]) == 2
    with pytest.raises(VerificationError, match="published"):
        verify_small(circuit, [a, b, links[0], links[0]], statement=published)
    assert "weights before step 0" in repr(links[0]) and "replace" in str(links[0])


# ---- lies -----------------------------------------------------------------------------------------------------------
def lying(monkeypatch, name, change):
    circuit, run = tiny_run(shard_size=5)
    a = prove_small(circuit, run)
    with monkeypatch.context() as patch:
        forging(patch, name, change)
        return circuit, a, link(run, verify=False)


@pytest.mark.parametrize("name", ["initial", "final", "shard 0"])
def test_another_matrix(monkeypatch, name):
    circuit, a, lie = lying(monkeypatch, name, add((0, 5, 1)))
    refused("opening", circuit, [a, lie])

    def nothing(transcript, links):
        claims = honest(transcript, links)
        claims.scalars[:] = [ZERO] * len(claims.scalars)
        return claims

    honest = linking.draw_alone
    for module in (linking, verifier):
        monkeypatch.setattr(module, "draw_alone", nothing)
    circuit, a, lie = lying(monkeypatch, name, add((0, 5, 1)))
    verify_small(circuit, [a, lie])


def test_a_point_that_is_known_before_the_roots(monkeypatch):
    change = add(*((0, j, x) for j, x in enumerate(relation())))
    circuit, a, lie = lying(monkeypatch, "final", change)
    refused("opening", circuit, [a, lie])
    honest = Transcript.challenges
    known = lambda self, label, count: POINT if label == "links" else honest(self, label, count)  # noqa: E731
    monkeypatch.setattr(Transcript, "challenges", known)
    circuit, a, lie = lying(monkeypatch, "final", change)
    verify_small(circuit, [a, lie])


def test_roots_without_a_shard_are_joined_unchecked(monkeypatch):
    """Weights alone, and two roots that nobody leads to: it would join any dataset to any other."""
    circuit, run = tiny_run(shard_size=5)
    a, other = prove_small(circuit, run), tiny_run(shard_size=5, seed=7)[1]
    mixed = next_run(circuit, dataclasses.replace(run, data=other.data, kept=None))
    run.chain._kept.clear()
    b = prove_small(circuit, mixed)
    refused("chain", circuit, [a, b])
    honest = linking.LinkStatement
    roots = Dataset(a.statement.dataset, b.statement.dataset, 12, 5, ())
    monkeypatch.setattr(linking, "LinkStatement", lambda geometry, old, new, _: honest(geometry, old, new, roots))
    lie = link(run, ["final"], verify=False)
    refused("dataset", circuit, [a, b, lie])
    monkeypatch.setattr(verifier, "check_alone", lambda statement: None)
    verify_small(circuit, [a, b, lie])


def test_links_of_other_commitments():
    """Taken apart, exchanged, or of another chain: nothing is joined that was not shown."""
    circuit, _, (a, b), (x, y) = chain()
    s = y.statement
    for changes in (
        {"replaced": (a.statement.final,)},
        {"fresh": (b.statement.final,)},
        {"fresh": (dataclasses.replace(s.fresh[0], root=a.statement.final.root),)},
        {"replaced": s.fresh, "fresh": s.replaced},
        {"replaced": (*s.replaced, a.statement.initial), "fresh": (*s.fresh, x.statement.fresh[0])},
    ):
        with pytest.raises((VerificationError, FormatError)):
            verify_small(circuit, [a, b, x, altered(y, **changes)])
        with pytest.raises(reference.Rejected):
            reference.verify_chain(circuit.to_json(), [bytes(p) for p in (a, b, x, altered(y, **changes))], minimum_bits=BITS)


def test_every_part_of_a_file_counts():
    """Bytes of statement and body, and what is cut off or added."""
    circuit, _, (a, b), (x, y) = chain()
    raw, rng = bytes(y), random.Random(0)
    places = [*range(0, 14), *rng.sample(range(14, len(raw)), 16)]
    spoilt = [raw[:i] + bytes([raw[i] ^ 1 << rng.randrange(8)]) + raw[i + 1 :] for i in places]
    for file in (*spoilt, raw[:-1], raw[:-8], raw + b"\0" * 8, raw[:14]):  # first: where it stands in the chain does not matter
        with pytest.raises((VerificationError, FormatError)):
            verify_small(circuit, [zkjax.Proof.parse(file), a, b, x])
        with pytest.raises(reference.Rejected):
            reference.verify_chain(circuit.to_json(), [file, *(bytes(p) for p in (a, b, x))], minimum_bits=BITS)


def test_another_geometry_is_refused():
    circuit, _, (a, b), links = chain()
    _, run = tiny_run()
    run.chain.geometry = dataclasses.replace(a.statement.geometry, log_row=11)
    with pytest.raises(VerificationError, match="another geometry"):
        verify_small(circuit, [a, b, *links, link(run)])


# ---- how they are made ----------------------------------------------------------------------------------------------
def test_units_are_spent_and_replacements_kept(tmp_path):
    circuit, run = tiny_run(shard_size=5)
    run.save(tmp_path)
    first = prove_small(circuit, run)
    replaced = link(zkjax.Run.load(tmp_path))
    again = prove_small(circuit, run)
    assert again.statement.initial == replaced.statement.fresh[0]
    assert again.statement.shards == tuple(c for c in replaced.statement.fresh if c.kind == "shard")
    assert sorted({part.budget for x in replaced.statement.opened() for part in x.parts}) == [4]
    assert set(run.chain.openings.spent.values()) == {2}
    accepted(circuit, [first, replaced])
    accepted(circuit, [again, replaced])


def test_a_lost_proof_of_links_is_made_again():
    circuit, run = tiny_run(shard_size=5)
    with pytest.raises(ConfigurationError, match="no link of initial can be made again"):
        link(run, ["initial"], again=True)
    first = prove_small(circuit, run)
    lost = link(run)
    second = prove_small(circuit, next_run(circuit, run))
    refused("chain", circuit, [first, second])
    found = link(run, again=True)
    assert found.statement == lost.statement and found.body != lost.body
    accepted(circuit, [first, found, second])
    assert link(run).statement.replaced[0] == found.statement.fresh[0]  # without again: those of now
    with pytest.raises(ConfigurationError, match="can be made again"):  # of other names nothing was made, of these no opening is left
        link(run, ["final"], again=True)
    with pytest.raises(ConfigurationError, match="can be made again"):
        link(run, again=True)


def test_links_wait_for_those_of_another_process(tmp_path):
    """Who replaces something holds a lock on the directory until that is finished."""
    _, run = tiny_run(shard_size=5)
    run.save(tmp_path)
    with open(tmp_path / ".replacing.lock", "w") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        made = pool.submit(link, run)
        with pytest.raises(TimeoutError):
            made.result(timeout=0.3)
        assert run.chain.openings.spent == {}
        fcntl.flock(held, fcntl.LOCK_UN)
        assert made.result().statement.links


def test_misuse():
    circuit, run = tiny_run(shard_size=5)
    for names in ((), "final", ["weights"], ["shard 9"], ["final", "trace"]):
        with pytest.raises(ConfigurationError, match="give some of initial, final, shard"):
            link(run, names)
    for nonsense in (None, circuit, "run"):
        with pytest.raises(RunError, match="give a zkjax.Run"):
            link(nonsense)
    with pytest.raises(ConfigurationError, match="below the target of 100"):
        zkjax.link(run)
    assert run.chain.openings.spent == {}
    run.chain.openings.spent[f"{run.keys[1].name} 2 parameters"] = 4
    with pytest.raises(BudgetError, match="the weights before step 2 has been opened 4 times"):
        link(run)
    link(run, ["initial"])


def test_a_proof_that_does_not_verify_replaces_nothing(monkeypatch):
    circuit, run = tiny_run(shard_size=5)
    forging(monkeypatch, "final", add((0, 0, 1)))
    with pytest.raises(zkjax.UnsatisfiedWitnessError, match="does not verify"):
        link(run)
    assert run.chain.openings.replaced == {} and set(run.chain.openings.spent.values()) == {1}


def test_at_the_full_target():
    circuit, run = tiny_run()
    run.chain.geometry = None
    proof = zkjax.link(run)
    assert proof.security.bits >= 100
    assert zkjax.verify(circuit, [proof, zkjax.prove(circuit, run, progress=None)])
