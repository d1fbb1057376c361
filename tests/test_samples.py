"""Some samples of a committed dataset are shown, or some inputs of them: lies, each refused by the check that should, and what is spent."""

import dataclasses
import json
import struct
from functools import cache
from unittest import mock

import numpy as np
import pytest
from harness import BITS, SMALL, data_for, prove_small
from test_disclosures import chain, disclose, disclosed, refused, with_states
from tiny import DIMS, tiny_run

import zkjax
from zkjax.__main__ import main
from zkjax.commitment.commit import commit
from zkjax.commitment.dataset import dataset_root
from zkjax.errors import BudgetError, ConfigurationError, FormatError, UnsatisfiedWitnessError, VerificationError
from zkjax.kernels.threads import scope
from zkjax.proofs.disclosed import cells_of, check_disclosed
from zkjax.proofs.disclosure import MAGIC, Chosen, Disclosure, Item
from zkjax.protocol import disclosure as protocol
from zkjax.prover import disclose as prover
from zkjax.prover.lanes import cell_lanes

SAMPLES, SIZE = 12, 5  # of ``chain``: shards of 5, 5 and 2 samples
X, Y = data_for(DIMS)


def shown(samples=None, inputs=None, **options):
    """Of ``chain``, as if nothing had been opened yet: what is spent is another test's."""
    run = chain()[1][0]
    with mock.patch.object(run.chain.openings, "spent", {}):
        return disclose(run, "dataset", samples=samples, inputs=inputs, **options)


@cache
def some() -> Disclosure:
    """Samples of the first and the last shard."""
    return shown((1, 2, 3, 10))


SOME = [1, 2, 3, 10]


def compared(data, found, minimum_bits=BITS, **options):
    circuit, _, proofs = chain()
    return check_disclosed(circuit, [p.statement for p in proofs], [found], data=data, minimum_bits=minimum_bits, **options)


def not_these(check, data, found, match=None, **options):
    with pytest.raises(VerificationError, match=match) as caught:
        compared(data, found, **options)
    assert caught.value.check == check, caught.value


# ---- honest ones -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "samples, numbers, shards",
    [
        (0, ((0, 1),), [0]),
        (np.int64(11), ((11, 12),), [2]),
        (range(3, 7), ((3, 7),), [0, 1]),
        ([0, 4, 5, 11], ((0, 1), (4, 6), (11, 12)), [0, 1, 2]),
        (range(12), ((0, 12),), [0, 1, 2]),
        (iter([2, 9]), ((2, 3), (9, 10)), [0, 1]),
    ],
)
def test_which_samples(samples, numbers, shards):
    """A number, a range, or a list; an opening of the shards that hold them, and of no others."""
    found = shown(samples)
    own = [n for first, end in numbers for n in range(first, end)]
    assert found.dataset.chosen == Chosen(numbers, (0, 1)) and [x.commitment.number for x in found.items] == shards
    assert all(item.seed is None for item in found.items) and not found.whole
    assert compared((X[own], Y[own]), found) == found
    not_these("data", (X[own] + 1 / 8, Y[own]), found)


def test_some_inputs():
    """The labels alone, of some samples or of all."""
    for samples, own in (((3, 7), [3, 7]), (None, range(12))):
        found = shown(samples, "y")
        assert found.dataset.chosen.inputs == (1,) and found.inputs(chain()[0].inputs) == (1,)
        compared((Y[own],), found)
        not_these("data", (Y[own][::-1],), found, "not the arrays")
        not_these("data", (X[own], Y[own]), found, "2 arrays, what is disclosed are y")
        not_these("data", (X[own],), found, "shape")
    assert shown(5, ("y", "x")).dataset.chosen == shown(5).dataset.chosen == Chosen(((5, 6),), (0, 1))
    circuit, _, proofs = chain()
    zkjax.verify(circuit, proofs, data=(X[[4]],), disclosures=[shown(4, ["x"])], minimum_bits=BITS)


def test_what_is_told():
    circuit = chain()[0]
    assert some().part(circuit.inputs) == "samples 1..3, 10 of 0..11"
    assert shown(4, "y").part(circuit.inputs) == "y of sample 4 of 0..11"
    assert disclosed(chain, 1, 2).part(circuit.inputs) == "shard 2 of 0..2"
    assert "Of inputs 0, 1: samples 1..3, 10." in str(some()) and "opened at a point" in str(some())
    assert str(Chosen.of(range(0, 60, 2), (0,))).endswith("36, 38, ..")


# ---- lies ------------------------------------------------------------------------------------------------------------
def test_other_samples():
    """Another value, another sample, another order, one twice, one more or less, what cannot be data of this circuit."""
    x, y = X[SOME], Y[SOME]
    compared((x, y), some())
    other = y.copy()
    other[3, 1] += 1 / 16
    not_these("data", (x, other), some(), "not the arrays")
    for order in ([1, 2, 10, 3], [1, 2, 3, 9], [1, 2, 3, 3], [0, 1, 2, 10]):
        not_these("data", (X[order], Y[order]), some(), "not the arrays")
    not_these("data", (X[[1, 2, 10, 3]], y), some(), "not the arrays")
    not_these("data", (x[:3], y[:3]), some(), "3 samples, what is disclosed are 4")
    not_these("data", (X, Y), some(), "12 samples")
    not_these("data", (x, y[:3]), some(), "has 3 samples")
    not_these("data", (x[:, :2], y), some(), "shape")
    not_these("data", (y, x), some(), "shape")
    not_these("data", (x.astype(complex), y), some(), "dtype")
    not_these("data", (x * 10**6, y), some(), "outside the declared range")
    not_these("data", (x * np.nan, y), some(), "not finite")
    not_these("security", (x, y), some(), minimum_bits=100)
    not_these("work", (x, y), some(), max_work=10**5)
    not_these("work", (x, y), some(), max_memory=2**26)


def lying(cells, monkeypatch, samples=SOME, **options):
    """Everything as an honest prover does it, but for what is public. cells: of each shard, from the honest ones."""
    honest = prover.cells_of
    with monkeypatch.context() as patch:
        patch.setattr(prover, "cells_of", lambda *arguments: cells(honest(*arguments)))
        return shown(samples, **options, verify=False)


def test_a_prover_that_shows_other_numbers(monkeypatch):
    """The statement says so, the digest fits, and the opening does not."""
    lie = Y[SOME] + np.float32(1 / 16) * np.eye(4, 2, dtype=np.float32)
    layout, honest = prover.make_plan(chain()[1][0]).shard_layout, prover.cells_of
    own = [np.floor(x * 16 + 0.5).astype(np.int64) for x in (X[SOME], lie)]
    assert [x.scale for x in chain()[0].inputs] == [4, 4]
    parts = {0: slice(0, 3), 2: slice(3, 4)}
    made = []
    for shard, part in parts.items():
        numbers = np.array(SOME)[part] - shard * SIZE
        made.append(honest(layout(shard), {("data", shard, k): x[part] for k, x in enumerate(own)}, numbers, 1, SMALL.row))
    found = lying(lambda _: made.pop(0), monkeypatch)
    not_these("data", (X[SOME], Y[SOME]), found, "not the arrays")
    not_these("opening", (X[SOME], lie), found)


def test_a_prover_whose_weights_are_others(monkeypatch):
    """Lanes that forget which cells are shown, or where a shard stands in the stack: the prover notices, as any verifier would."""
    ways = (
        lambda point, offset, cells: cell_lanes(point, offset, np.zeros_like(cells)),
        lambda point, offset, cells: cell_lanes(point, 0, cells),
        lambda point, offset, cells: cell_lanes(protocol.Point(point.high, point.low[::-1]), offset, cells),
    )
    for way in ways:
        monkeypatch.setattr(prover, "cell_lanes", way)
        with pytest.raises(UnsatisfiedWitnessError, match="VerificationError"):
            shown(SOME)


def test_which_cells_are_meant_is_fixed_before_the_point():
    """A hidden cell and one that is shown as 0 are told apart: else others could be meant once the point is known."""
    cells = np.full((2, 4), protocol.HIDDEN)
    zero = cells.copy()
    zero[1, 2] = 0
    assert protocol.digest_of_cells([cells]) != protocol.digest_of_cells([zero])
    assert protocol.digest_of_cells([cells]) == protocol.digest_of_cells([cells[:1], cells[1:]])
    layout = prover.make_plan(chain()[1][0]).shard_layout(0)
    none = {("data", 0, k): np.zeros((1, *x.shape[1:]), np.int64) for k, x in enumerate(chain()[0].inputs)}
    made = cells_of(layout, none, np.array([3]), 1, SMALL.row)
    assert (made == 0).sum() == DIMS[0] + DIMS[-1] and set(made.flat) == {0, int(protocol.HIDDEN)}


def edited(found, **changes):
    """With other fields of what is chosen, or of the dataset."""
    chosen = found.dataset.chosen._replace(**{k: v for k, v in changes.items() if k in Chosen._fields and k != "samples"})
    chosen = chosen._replace(samples=changes["numbers"]) if "numbers" in changes else chosen
    rest = {k: v for k, v in changes.items() if k in ("samples", "shard_size", "siblings")}
    return dataclasses.replace(found, dataset=found.dataset._replace(chosen=chosen, **rest))


def test_statements_that_say_something_else():
    """Other numbers of samples or inputs beside the same proof: which cells are meant is in the digest, and all is in the transcript."""
    found = some()
    for numbers, own in ((((0, 3), (10, 11)), [0, 1, 2, 10]), (((1, 4), (11, 12)), [1, 2, 3, 11])):
        not_these("data", (X[own], Y[own]), edited(found, numbers=numbers), "not the arrays")
        not_these("data", (X[SOME], Y[SOME]), edited(found, numbers=numbers), "not the arrays")
    not_these("data", (X[SOME],), edited(found, inputs=(0,)), "not the arrays")
    not_these("disclosure", (X[SOME], Y[SOME]), edited(found, inputs=(0, 2)), "it is of input 2, the circuit reads x, y")
    for change in ({"samples": 13}, {"shard_size": 4}, {"siblings": ()}):
        with pytest.raises((VerificationError, FormatError), match="none of them is of the proofs' dataset|not the shards"):
            compared((X[SOME], Y[SOME]), edited(found, **change))
    body = bytearray(found.body)
    body[100] ^= 1
    with pytest.raises((VerificationError, FormatError)):
        compared((X[SOME], Y[SOME]), dataclasses.replace(found, body=bytes(body)))
    moved = edited(shown((1,), "x"), numbers=((2, 3),))  # both alike: the same shard, the same shapes
    not_these("data", (X[[1]],), moved, "not the arrays")


def test_a_shard_of_the_liars_own():
    """Cells that he likes, behind a commitment that no root names; and rows or budgets that no prover could have opened."""
    found, data = some(), (X[SOME], Y[SOME])
    with scope():
        own = commit(np.zeros((1, SMALL.row), np.uint64), kind="shard", number=0, budget=4, geometry=SMALL, seed=bytes(32))
    lie = dataclasses.replace(found, items=(Item(own.commitment, None), found.items[1]))
    not_these("disclosure", data, lie)
    for change in ({"rows": 2}, {"budget": 5}):
        first = found.items[0].commitment
        items = (Item(dataclasses.replace(first, parts=(first.parts[0]._replace(**change),)), None), found.items[1])
        whole = [items[0].commitment, chain()[1][0], items[1].commitment]
        whole[1] = shown(7).items[0].commitment
        root, siblings = dataset_root([c.digest(SMALL) for c in whole], [0, 2], SAMPLES, SIZE)
        statement = dataclasses.replace(chain()[2][0].statement, dataset=root, dataset_after=root)
        lie = dataclasses.replace(edited(found, siblings=tuple(siblings)), items=items)
        with pytest.raises(VerificationError) as caught:
            check_disclosed(chain()[0], [statement], [lie], data=data, minimum_bits=BITS)
        assert caught.value.check == "commitment to shard 0"


def test_another_chain():
    """Of the same data, even: their commitments are others."""
    circuit, run = tiny_run(shard_size=5)
    other = disclose(run, "dataset", samples=SOME)
    not_these("disclosure", (X[SOME], Y[SOME]), other)
    check_disclosed(circuit, [prove_small(circuit, run).statement], [other], data=(X[SOME], Y[SOME]), minimum_bits=BITS)


# ---- what is spent ---------------------------------------------------------------------------------------------------
def test_an_opening_of_each_shard_that_holds_some_is_spent():
    """And of no other; all at once or none. What is left is for a proof that replaces them, and later ones show what that leads to."""
    circuit, run = tiny_run(shard_size=5)
    spent, group = run.chain.openings.spent, run.chain.data.name
    proof = prove_small(circuit, run)
    read = {f"{group} {c.number} cells" for c in proof.statement.shards}
    before = dict(spent)
    disclose(run, "dataset", samples=[0, 11])
    assert {name: spent[name] - before.get(name, 0) for name in spent if spent[name] != before.get(name, 0)} == {
        f"{group} {n} cells": 1 for n in (0, 2)
    }
    (busy,) = [n for n in (0, 1, 2) if f"{group} {n} cells" in read and n != 1][:1]
    used = dict(spent)
    with pytest.raises(BudgetError, match=f"shard {busy} of the dataset.*zkjax.link"):
        disclose(run, "dataset", samples=range(12))
    assert spent == used
    linked = zkjax.link(run, [f"shard {busy}"], minimum_bits=BITS)
    number = [busy * SIZE]
    found = disclose(run, "dataset", samples=number)
    assert found.items[0].commitment == linked.statement.fresh[0]
    data = (X[number], Y[number])
    zkjax.verify(circuit, [proof, linked], data=data, disclosures=[found], minimum_bits=BITS)
    refused("disclosure", circuit, proof, data=data, disclosures=[found])


def test_a_saved_run_counts_and_shows_the_same(tmp_path):
    circuit, run = tiny_run(shard_size=5)
    run.save(tmp_path)
    proof, loaded = prove_small(circuit, run), zkjax.Run.load(tmp_path)
    loaded.chain.geometry = SMALL
    found = disclose(loaded, "dataset", samples=4, inputs="y")
    zkjax.verify(circuit, proof, data=(Y[[4]],), disclosures=[found], minimum_bits=BITS)
    assert run.chain.openings.spent.keys() <= loaded.chain.openings.spent.keys()


def test_misuse(tmp_path):
    run = chain()[1][0]
    for options in (
        {"what": "parameters", "samples": 1},
        {"what": "initial", "inputs": "x"},
        {"what": 1, "samples": 5},
    ):
        with pytest.raises(ConfigurationError, match="give what='dataset'"):
            zkjax.disclose(run, **options)
    for samples in (-1, 12, [], [1, 12], True, [0.5], "1", [True], range(0)):
        with pytest.raises(ConfigurationError, match="numbers from 0 to 11"):
            zkjax.disclose(run, "dataset", samples=samples)
    for samples in ([3, 2], [2, 2], range(5, 0, -1)):
        with pytest.raises(ConfigurationError, match="ascending order, each once"):
            zkjax.disclose(run, "dataset", samples=samples)
    for inputs in ("z", [], ["x", "x"], ["x", "z"]):
        with pytest.raises(ConfigurationError, match="give some of x, y"):
            zkjax.disclose(run, "dataset", samples=1, inputs=inputs)
    with pytest.raises(ConfigurationError, match="bits"):
        zkjax.disclose(run, "dataset", samples=1)
    for data in (disclosed(chain, 1, "parameters"), disclosed(with_states, 0, "dataset"), (X, Y), 1):
        with pytest.raises(ConfigurationError, match="data: give True"):
            zkjax.publish(run, [chain()[2][0]], tmp_path / "folder", data=data)


# ---- files -----------------------------------------------------------------------------------------------------------
def changes(data):
    """Statements that are no disclosures of samples."""
    dataset, items = data["dataset"], data["items"]
    for numbers in (
        [],
        None,
        [[1, 1], [10, 11]],
        [[2, 1], [10, 11]],
        [[1, 4], [4, 5], [10, 11]],  # not apart: [1, 5]
        [[1, 4], [3, 5], [10, 11]],
        [[10, 11], [1, 4]],
        [[1, 4], [1, 4], [10, 11]],
        [[1, 4], [10, 13]],
        [[-1, 4], [10, 11]],
        [[1, 4, 10], [11]],
        [[1], [10]],
        [1, 4],
        [[1, 4.0], [10, 11]],
        [[1, 4]],
        [[1, 4], [6, 7], [10, 11]],
        [[1, 11]],
        [[5, 6]],
    ):
        yield data | {"dataset": dataset | {"numbers": numbers}}
    for inputs in ([], None, [1, 0], [0, 0], [-1, 0], ["x"], [0, 2**24], [True]):
        yield data | {"dataset": dataset | {"inputs": inputs}}
    for name in ("numbers", "inputs"):
        yield data | {"dataset": {k: v for k, v in dataset.items() if k != name}}
    yield data | {"dataset": {k: v for k, v in dataset.items() if k not in ("numbers", "inputs")}}
    yield data | {"items": [items[0]]}
    yield data | {"items": items[::-1]}
    yield data | {"items": [items[0] | {"seed": "0" * 64}, items[1]]}
    yield data | {"items": [x | {"seed": "0" * 64} for x in items]}
    yield data | {"items": [x | {"seed": "0" * 64} for x in items], "arrays": None}
    yield data | {"arrays": None}
    yield data | {"dataset": dataset | {"shard_size": 11}}


def test_statements_that_are_none():
    found = some()
    for wrong in changes(found.to_json()):
        raw = json.dumps(wrong, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(FormatError, match="disclosure: "):
            Disclosure.parse(MAGIC + struct.pack("<HI", 1, len(raw)) + raw + found.body)
    assert Disclosure.parse(bytes(found)) == found


def test_many_numbers_are_no_work():
    """Ranges that say of more shards than there are items are refused before they are listed."""
    chosen = Chosen(tuple((10 * i, 10 * i + 9) for i in range(1000)), (0,))
    assert len(chosen.shards(1, 3)) <= 8 and Chosen(((0, 2**32),), (0,)).shards(1, 2) == [0, 1, 2]
    assert chosen.shards(10**6, 1) == [0] and chosen.count == 9000


# ---- folders and the command line ------------------------------------------------------------------------------------
def test_a_folder_says_it(tmp_path):
    """In the sentence how many, among the claims which."""
    circuit, run = tiny_run(shard_size=5)
    proof = prove_small(circuit, run)
    for name, inputs, told, part in (
        ("both", None, "12 samples, 3 of which are disclosed)", "they are samples 3..5 of 0..11"),
        ("labels", "y", "12 samples, 3 of which are disclosed in part)", "they are y of samples 3..5 of 0..11"),
    ):
        with mock.patch.object(run.chain.openings, "spent", {}):  # what is spent is another test's
            found = disclose(run, "dataset", samples=range(3, 6), inputs=inputs)
            said = zkjax.publish(run, [proof], tmp_path / name, model=False, data=found, minimum_bits=BITS)
        assert told in said.sentence
        (claim,) = [x for x in said.claims if x.what == "data"]
        assert part in claim.evidence and any("beyond what is in data.npz" in gap for gap in said.gaps)
        names = ["x", "y"] if inputs is None else ["y"]
        assert said.facts["disclosed_samples"] == {"ranges": [[3, 6]], "inputs": names} and said.facts["disclosed_shards"] is None
        with np.load(tmp_path / name / "data.npz") as arrays:
            assert sorted(arrays) == names
            held = dict(arrays)
        held["y"][1] += 1 / 16
        np.savez(tmp_path / name / "data.npz", **held)
        with pytest.raises(VerificationError) as caught:
            zkjax.check(tmp_path / name, minimum_bits=BITS)
        assert caught.value.check == "data"


def test_the_command_line(tmp_path, capsys):
    circuit, _, proofs = chain()
    circuit.save(tmp_path / "circuit.json")
    for i, proof in enumerate(proofs):
        proof.save(tmp_path / f"{i}.proof")
    some().save(tmp_path / "some.disclosure")
    shown(4, "y").save(tmp_path / "y.disclosure")
    np.savez(tmp_path / "some.npz", y=Y[SOME], x=X[SOME])
    np.savez(tmp_path / "y.npz", y=Y[[4]])

    def verify(data, disclosure):
        words = ["--data", str(tmp_path / f"{data}.npz"), "--disclosure", str(tmp_path / f"{disclosure}.disclosure")]
        status = main(["verify", str(tmp_path), "--circuit", str(tmp_path / "circuit.json"), "--minimum-bits", str(BITS), *words])
        return status, *capsys.readouterr()

    status, output, _ = verify("some", "some")
    told = "some.npz is samples 1..3, 10 of 0..11, each read 1 time in these steps, not the whole dataset"
    assert status == 0 and told in output.split("Only claimed")[0]
    status, output, _ = verify("y", "y")
    assert status == 0 and "y.npz is y of sample 4 of 0..11" in output
    status, _, errors = verify("some", "y")
    assert status == 2 and "it holds x, y; write y" in errors
    assert verify("y", "some")[0] == 2
    np.savez(tmp_path / "y.npz", y=Y[[5]])
    status, _, errors = verify("y", "y")
    assert status == 1 and "INVALID: check data: " in errors
    assert main(["inspect", str(tmp_path / "some.disclosure")]) == 0
    assert "samples 1..3, 10" in capsys.readouterr().out
