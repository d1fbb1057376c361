"""Chains of any length: a chunk whose bounds would come to an end range-checks its exact first state in limbs; and lies about that."""

import dataclasses
import json

import numpy as np
import optax
import pytest
import tiny as tiny_nets
from harness import BITS, SMALL, Liar, mlp_loss, prove_small, verify_small
from reference import verifier as reference
from test_tamper import OTHER_CHALLENGES

import zkjax
from zkjax.commitment.keys import Key
from zkjax.errors import PrecisionError, UnsatisfiedWitnessError, VerificationError
from zkjax.ops.ranges import limbs, signed_bound
from zkjax.proofs import checks
from zkjax.prover.prove import make_plan
from zkjax.training.renewal import renewed


def near_the_end(circuit, run, steps=3):
    """The run with the largest bounds on its first weights that hold for so many steps: more than its range check shows, hence true."""

    def grown(bound):
        return tuple(bound if p in circuit.growing else b for p, b in enumerate(run.initial_bound))

    def holds(bound):
        return circuit.longest_chain(grown(bound), run.first_step).steps >= steps

    low, high = max(run.initial_bound), 2**62
    assert holds(low) and not holds(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return dataclasses.replace(run, initial_bound=grown(low), final_bound=circuit.bounds(grown(low), run.steps, run.first_step).final)


@pytest.fixture(scope="module")
def chain():
    """(circuit, runs, proofs): bounds allow three steps, the chain has six in three chunks."""
    circuit, run = tiny_nets.tiny_run(shard_size=5)
    runs = [near_the_end(circuit, run)]
    while len(runs) < 3:
        runs.append(tiny_nets.next_run(circuit, runs[-1]))
    return circuit, runs, [prove_small(circuit, r) for r in runs]


def widths_needed(run):
    return tuple(1 + max(int(w.max()), -int(w.min()) - 1).bit_length() for w in run.initial)


def presented(circuit, run, **changes):
    """The run with other public numbers; its final bound is what these lead to."""
    altered = dataclasses.replace(run, keys=(Key.fresh(), Key.fresh()) if "final" in changes else run.keys, **changes)
    altered.chain.openings.spent.clear()
    return dataclasses.replace(altered, final_bound=circuit.bounds(altered.initial_bound, run.steps, run.first_step).final)


# ---- chains ------------------------------------------------------------------------------------------------------------
def test_a_chain_goes_on_where_its_bounds_end(chain):
    circuit, runs, proofs = chain
    first, second, third = runs
    assert not any(third.widths) and all(first.widths)
    assert second.widths == widths_needed(second) and max(second.widths) > circuit.table_bits  # in limbs
    assert second.initial_bound == tuple(map(signed_bound, second.widths)) and all(
        a < b for a, b in zip(second.initial_bound, first.final_bound)
    )
    assert third.initial_bound == second.final_bound
    statements = verify_small(circuit, proofs)
    assert [s.widths for s in statements] == [r.widths for r in runs]
    assert [s.assumed for s in statements] == [False, False, True]
    assert verify_small(circuit, proofs[1:])[0].first_step == 2  # all states are shown, so it stands for itself
    assert circuit.longest_chain(second.initial_bound, 2).steps > 3
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)


def test_what_people_are_told(chain):
    circuit, runs, proofs = chain
    assert f"range check of {circuit.range_check(runs[1].widths)[1]:,} lookups" in str(runs[1]) and "range check" not in str(runs[2])
    assert "proven here" in str(proofs[1].statement) and "earlier proof has to show" in str(proofs[2].statement)
    partly = dataclasses.replace(proofs[2].statement, widths=(9, 0, 0, 0))
    assert "earlier proof has to show, and those that grow range-checked anew here" in str(partly)
    told = next(line for line in str(circuit).splitlines() if line.startswith("bounds hold for"))
    sizes = [(w.size, len(limbs(x, circuit.table_bits))) for w, x in zip(runs[0].initial, circuit.renewing_widths, strict=True)]
    cells, lookups = sum(n * (count - 1) for n, count in sizes), sum(n * count for n, count in sizes)
    assert f"range-checks its first weights, with {cells:,} cells and {lookups:,} lookups" in told


@pytest.mark.parametrize("number", [0, 1, 2])
def test_sizes_are_those_of_the_plan(chain, number):
    circuit, runs, _ = chain
    plan, counts = make_plan(runs[number]), circuit.counts(2, runs[number].widths)
    multiplicities = {table.key for table in plan.sites.tables}
    assert counts.cells == sum(int(np.prod(shape)) for key, shape in plan.advice.items() if key not in multiplicities)
    assert counts.lookups == sum(int(np.prod(x.leaves)) for x in plan.sites.lookups)
    assert counts.table_entries == sum(2**table.width for table in plan.sites.tables)


def test_chunks_never_end_because_bounds_grew(chain):
    circuit, (first, *_), _ = chain
    runs = list(zkjax.chunks(circuit, first, None, steps=5, chunk=2))
    assert [any(r.widths) for r in runs] == [False, True, False] and sum(r.steps for r in runs) == 5
    large = presented(circuit, first)
    allowed = circuit.longest_chain(tuple(map(signed_bound, widths_needed(dataclasses.replace(large, initial=large.final)))), 2).steps
    with pytest.raises(PrecisionError, match=f"bounds hold for {allowed} steps from here, less than a chunk of {allowed + 1}"):
        zkjax.chunks(circuit, first, None, steps=allowed + 1, chunk=2**62)
    with pytest.raises(PrecisionError, match="train with a smaller learning rate|use chunks of at most"):
        zkjax.train(circuit, first, None, steps=allowed + 1)


def test_a_saved_run_keeps_its_ranges(tmp_path):
    circuit, first = tiny_nets.tiny_run()
    run = tiny_nets.next_run(circuit, near_the_end(circuit, first))
    run.save(tmp_path / "run")
    loaded = zkjax.Run.load(tmp_path / "run")
    assert any(run.widths) and (loaded.widths, loaded.initial_bound) == (run.widths, run.initial_bound)
    assert make_plan(loaded).sites.layout == make_plan(run).sites.layout


def test_only_states_whose_bounds_grow_are_shown():
    """Not a moment, whose range every chunk shows, and no frozen parameter."""
    params = [{"w": np.full((3, 2), 0.25, np.float32), "b": np.zeros(2, np.float32)}, {"w": np.full((2, 2), 0.5, np.float32)}]
    rng = np.random.default_rng(3)
    data = tuple(rng.normal(size=(6, n)).astype(np.float32) for n in (3, 2))
    labels = [{"w": "trained", "b": "trained"}, {"w": "frozen"}]
    optimizer = optax.multi_transform({"trained": optax.sgd(1 / 32, momentum=0.5), "frozen": optax.set_to_zero()}, labels)
    batch = tuple(x[:3] for x in data)
    circuit = zkjax.trace(mlp_loss, optimizer, params, batch=batch, precision=tiny_nets.TINY)
    run = zkjax.train(circuit, params, data, steps=2)
    run.chain.geometry = SMALL
    exact = {p for p, x in enumerate(circuit.parameters) if x.recurrence is None}
    assert circuit.recurrent and set(circuit.growing) < exact
    run = near_the_end(circuit, run, 2)
    following = tiny_nets.next_run(circuit, run)
    assert {p for p, width in enumerate(following.widths) if width} == set(circuit.growing)
    for p in set(range(len(circuit.parameters))) - set(circuit.growing):
        assert following.initial_bound[p] == run.final_bound[p]
    proofs = [prove_small(circuit, r) for r in (run, following)]
    assert [s.assumed for s in verify_small(circuit, proofs)] == [False, True]
    with pytest.raises(VerificationError, match="initial bound"):
        verify_small(circuit, proofs[1])
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)


def test_widths_are_the_least(chain):
    circuit, (first, *_), _ = chain
    bound = (2**40,) * 4
    for low, high, width in ((0, 0, 1), (-1, 0, 1), (-2, 0, 2), (0, 1, 2), (-4, 3, 3), (-5, 3, 4), (-4, 4, 4)):
        state = tuple(np.array([low, high]) for _ in bound)
        assert renewed(circuit, state, bound) == ((width,) * 4, (2 ** (width - 1),) * 4)
        assert -(2 ** (width - 1)) <= low and high < 2 ** (width - 1)
    assert renewed(circuit, (np.array([5]),) * 4, (8,) * 4) == ((0,) * 4, (8,) * 4)  # what is shown already


# ---- lies --------------------------------------------------------------------------------------------------------------
def test_an_honest_chunk_breaks_nothing(chain):
    assert Liar(chain[1][1]).broken() == set()


@pytest.mark.parametrize("end, beyond, kept", [(-1, 0, True), (1, -1, True), (-1, -1, False), (1, 0, False)])
def test_the_last_values_in_a_range_and_the_first_ones_beyond(chain, end, beyond, kept):
    """A bias holds a value at an end of its range, or beyond, before the chunk, and what follows from it."""
    circuit, (_, run, _), _ = chain
    bias, state = 2, [x.copy() for x in run.initial]
    width = run.widths[bias]
    assert width > 1
    state[bias].reshape(-1)[0] = end * 2 ** (width - 1) + beyond
    start = dataclasses.replace(run, initial=tuple(state), kept=None)
    widths, bound = list(run.widths), list(run.initial_bound)
    done = zkjax.training.train.run_steps(
        circuit, circuit.bounds(tuple(bound), 2, 2), start.initial, run.data, run.indices, 2, False, lambda _: None
    )
    start = presented(circuit, start, widths=tuple(widths), final=done.final, loss_integers=done.losses)
    assert (Liar(start).broken() == set()) == kept
    if kept:
        assert verify_small(circuit, prove_small(circuit, start)).widths[bias] == width
        return
    with pytest.raises(UnsatisfiedWitnessError):
        prove_small(circuit, start)
    start.chain.openings.spent.clear()
    with pytest.raises(VerificationError) as caught:
        verify_small(circuit, prove_small(circuit, start, check=False))
    assert caught.value.check == "opening"


def test_every_limb_counts(chain):
    """Each limb of each state, one more or one less: they do not add up, or leave their tables."""
    run = chain[1][1]
    keys = [key for key in Liar(run).witness.tensors if key[0] == "initial range" and key[2] > 0]
    assert {key[1] for key in keys} == {p for p, width in enumerate(run.widths) if width > run.circuit.table_bits} != set()
    for key in keys:
        for by in (1, -1):
            liar = Liar(run)
            liar.witness.tensors[key] = liar.witness.tensors[key].astype(np.int64)
            liar.witness.tensors[key].reshape(-1)[0] += by
            assert liar.broken()


def test_limbs_of_another_value(chain):
    """Limbs that add up to a value in the range, which is not the committed one."""
    run = chain[1][1]
    liar = Liar(run)
    honest = liar.witness.tensors
    other = Liar(dataclasses.replace(run, kept=None))
    other.initial[0].reshape(-1)[0] += 1
    honest |= {key: x for key, x in other.witness.tensors.items() if key[0] in ("initial range", "multiplicity")}
    assert liar.broken()


def test_a_smaller_bound_than_the_range_shows(chain):
    circuit, runs, proofs = chain
    for less in (0, 1):
        bound = tuple(b - less * (p == 1) for p, b in enumerate(runs[1].initial_bound))
        proof = prove_small(circuit, presented(circuit, runs[1], initial_bound=bound))
        if less:
            with pytest.raises(VerificationError, match="smaller than what the range check shows"):
                verify_small(circuit, proof)
            with pytest.raises(reference.Rejected):
                reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS)
        else:
            assert verify_small(circuit, [proofs[0], proof])


def test_the_smaller_bound_would_be_believed_without_the_comparison(chain, monkeypatch):
    """The forgery that the comparison stops: a bound of 1 on weights that are larger."""
    circuit, runs, _ = chain
    lie = prove_small(circuit, presented(circuit, runs[1], initial_bound=(1,) * 4))
    monkeypatch.setattr(checks, "signed_bound", lambda width: 0)
    assert verify_small(circuit, lie).initial_bound == (1,) * 4


def test_smaller_bounds_without_a_range_check(chain):
    """Claimed and not shown: the chunk before shows less."""
    circuit, runs, proofs = chain
    for p in range(4):
        widths = tuple(0 if q == p else w for q, w in enumerate(runs[1].widths))
        proof = prove_small(circuit, presented(circuit, runs[1], widths=widths))
        with pytest.raises(VerificationError) as caught:
            verify_small(circuit, [proofs[0], proof])
        assert caught.value.check == "chain" and "smaller bound" in str(caught.value)
        with pytest.raises(reference.Rejected, match="chain: bound"):
            reference.verify_chain(circuit.to_json(), [bytes(proofs[0]), bytes(proof)], minimum_bits=BITS)
        with pytest.raises(VerificationError, match="initial bound"):
            verify_small(circuit, proof)


@pytest.mark.parametrize("change", ["exchanged", "narrower", "wider", "claimed", "dropped"])
def test_widths_altered_in_a_finished_statement(chain, change):
    """Bounds are loosened along, so that nothing but the proof itself says no."""
    circuit, runs, proofs = chain
    index, widths = 1, list(runs[1].widths)
    if change == "exchanged":
        widths = [widths[1], widths[0], *widths[2:]]
    elif change == "narrower":
        widths = [w - 1 for w in widths]
    elif change == "wider":
        widths = [w + 1 for w in widths]
    elif change == "claimed":
        index = 2
    else:
        widths = [0] * 4
    proof = proofs[index]
    bound = tuple(max(b, 2**20) for b in proof.statement.initial_bound)
    final = circuit.bounds(bound, 2, proof.statement.first_step).final
    altered = dataclasses.replace(proof.statement, widths=tuple(widths), initial_bound=bound, final_bound=final)
    forged = dataclasses.replace(proof, statement=altered)
    with pytest.raises(VerificationError) as caught:
        verify_small(circuit, forged, assume_bound=True)
    assert caught.value.check in (OTHER_CHALLENGES, "mask", "opening", "Merkle path", "commitments")
    with pytest.raises(reference.Rejected):
        reference.verify(circuit.to_json(), bytes(forged), minimum_bits=BITS, assume_bound=True)


@pytest.mark.parametrize("widths", [[], [9] * 3, [9] * 5, [63] * 4, [-63] * 4, [True] * 4, 9, None])
def test_widths_that_no_statement_has(chain, widths):
    """Refused by name, whatever their number: nothing is worked out from them before."""
    circuit, _, proofs = chain
    data = proofs[1].statement.to_json() | {"widths": widths}
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    raw = bytes(proofs[1])[:10] + len(text).to_bytes(4, "little") + text + proofs[1].body
    with pytest.raises((VerificationError, zkjax.FormatError), match="widths"):
        verify_small(circuit, zkjax.Proof.parse(raw))
    with pytest.raises(reference.Rejected):
        reference.verify(circuit.to_json(), raw, minimum_bits=BITS)
