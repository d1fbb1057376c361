"""States with a recurrence: momentum, decay, averages; trained, cut anywhere, proven, and lied about."""

import dataclasses
import math
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from harness import BITS, SMALL, Liar, prove_small, verify_small
from moving import UNIT, fixed, moving, start
from reference import verifier as reference

import zkjax
import zkjax.circuit.bounds
from zkjax import verifier
from zkjax.algebra import field
from zkjax.circuit import recurrence
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Given, Recurrence, Update
from zkjax.protocol import motion
from zkjax.prover.prove import make_plan
from zkjax.training import steps as steps_of_training
from zkjax.training.train import chunk_ends


def trained(circuit, steps, run=None, seed=0):
    found = zkjax.train(circuit, *(start(seed) if run is None else (run, None)), steps=steps)
    found.chain.geometry = SMALL
    return found


M, V, E = range(3)
CARRY = {M: {M: 0.9}, V: {V: 0.98}, E: {E: 0.75, V: 0.125}}
FEED = {M: 1, V: -0.25, E: 0.125}
INNER, END = (3, 3, 2), (5, 10, 4)


def coefficients(steps):
    """For each state after 0 .. steps steps of a period: {state or (fed state, step): exact rational}."""
    found = [{k: {k: Fraction(1)} for k in (M, V, E)}]
    for j in range(steps):
        following = {k: {(k, j): Fraction(fixed(FEED[k])[0], UNIT)} for k in (M, V, E)}
        for k, carried in CARRY.items():
            for r, c in carried.items():
                for symbol, x in found[-1][r].items():
                    following[k][symbol] = following[k].get(symbol, 0) + Fraction(fixed(c)[0], UNIT) * x
        found.append(following)
    return found


def by_hand(circuit, run, cuts=()):
    """The steps with rational coefficients, rounded where the definition says; cuts: steps at which a chunk ends, off the grid too."""
    w, *held = ([int(y) for y in x.reshape(-1)] for x in run.initial)
    fed = {M: [], V: [], E: []}

    def value(k, j, bits):
        """State k after j steps of the period, at so many bits after its unit: each coefficient is rounded, nothing else."""
        total = [0] * len(w)
        for symbol, x in coefficients(j)[j][k].items():
            c = (2 * x * 2**bits + 1).__floor__() // 2
            array = held[symbol] if isinstance(symbol, int) else fed[symbol[0]][symbol[1]]
            total = [t + c * a for t, a in zip(total, array, strict=True)]
        return total

    losses = []
    for t, batch in enumerate(run.indices):
        x = run.data.arrays[0][batch].astype(object)
        inside = value(V, len(fed[V]), INNER[V])
        y = (x @ np.array(w, dtype=object).reshape(3, 2) + 2**10) // 2**11
        y = y + (x @ np.array(inside, dtype=object).reshape(3, 2) + 2**10) // 2**11
        u = [int(a) for a in (x.T @ y).reshape(-1)]
        losses.append(int((y**2).sum()))
        fed[M].append(u), fed[V].append(u), fed[E].append(list(w))
        w = [a - b for a, b in zip(w, value(M, len(fed[M]), INNER[M]), strict=True)]
        if (t + 1) % circuit.period == 0 or t + 1 in cuts or t + 1 == run.steps:
            held = [[(x + 2 ** (END[k] - 1)) >> END[k] for x in value(k, len(fed[k]), END[k])] for k in (M, V, E)]
            fed = {M: [], V: [], E: []}
    return [w, *held], losses


@pytest.fixture(scope="module")
def chunk():
    circuit = moving()
    return circuit, trained(circuit, 5)


def test_training_is_the_definition(chunk):
    circuit, run = chunk
    states, losses = by_hand(circuit, run)
    for found, expected in zip(run.final, states, strict=True):
        assert found.reshape(-1).tolist() == expected
    assert [x for x, _ in run.loss_integers] == losses
    assert all(np.abs(x).max() <= bound for x, bound in zip(run.final, run.final_bound, strict=True))
    assert all(np.abs(x).max() > 0 for x in run.final)


def test_chains_that_are_cut_on_the_grid_are_one():
    circuit = moving()
    whole = trained(circuit, 9)
    for cuts in ((3, 6), (6, 3), (3, 3, 3)):
        run = None
        for steps in cuts:
            run = trained(circuit, steps, run)
        assert all(np.array_equal(a, b) for a, b in zip(whole.final, run.final, strict=True)), cuts
    first = trained(circuit, 4)
    second = trained(circuit, 5, first)
    states, _ = by_hand(circuit, dataclasses.replace(whole, kept=None), cuts=(4,))
    assert [x.reshape(-1).tolist() for x in second.final] == states
    assert not all(np.array_equal(a, b) for a, b in zip(whole.final, second.final, strict=True))  # it is rounded once more


@pytest.mark.parametrize(
    "steps, chunk, before, expected",
    [(9, 4, 0, [3, 6, 9]), (9, 4, 2, [4, 7, 9]), (9, 2, 0, [2, 3, 5, 6, 8, 9]), (8, 16, 1, [8]), (10, 6, 0, [6, 10]), (10, 7, 1, [5, 10])],
)
def test_chunks_are_cut_on_the_grid(steps, chunk, before, expected):
    """Where a chunk can hold a period; else where it must, and at every point of the grid on the way."""
    assert chunk_ends(moving(), before, steps, chunk) == expected


def test_chunks_make_one_training():
    circuit = moving()
    *_, last = zkjax.chunks(circuit, *start(), steps=9, chunk=5)
    assert last.first_step == 6
    assert all(np.array_equal(a, b) for a, b in zip(last.final, trained(circuit, 9).final, strict=True))


def test_coefficients_are_exact_products_rounded_once():
    circuit = moving(max_steps=9, decay=tuple(Fraction(n, 10) for n in range(1, 10)))
    rows = recurrence.rows(circuit, 2, 3, 3)
    decay = [Fraction(fixed(Fraction(n, 10))[0], UNIT) for n in (4, 5, 6)]
    products = [1, decay[0], decay[0] * decay[1]]
    assert rows.states[2][0] == tuple((2 * p * 2**3 + 1).__floor__() // 2 for p in products)
    last = decay[0] * decay[1] * decay[2]
    assert rows.states[2][2] == (2 * last * 2**10 + 1).__floor__() // 2
    feed = Fraction(fixed(-0.25)[0], UNIT)
    assert rows.feeds[2, 0][2] == tuple((2 * p * feed * 2**10 + 1).__floor__() // 2 for p in (decay[1] * decay[2], decay[2], 1))


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_a_chunk_is_proven(steps):
    circuit = moving()
    run = trained(circuit, steps)
    assert Liar(run).broken() == set()
    proof = prove_small(circuit, run, reveal=("loss",))
    verify_small(circuit, proof)
    ours, theirs = dict(zkjax.ledger(circuit, proof).terms), reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS)
    assert {name: -math.log2(error) for name, error in theirs.items()} == pytest.approx(ours)
    assert Circuit.from_json(circuit.to_json()) == circuit


def test_a_chain_is_proven_and_joined():
    circuit = moving()
    runs = [trained(circuit, 4)]
    runs.append(trained(circuit, 3, runs[0]))
    proofs = [prove_small(circuit, run) for run in runs]
    verify_small(circuit, proofs)
    with pytest.raises(zkjax.VerificationError, match="does not range-check"):
        verify_small(circuit, proofs[1:])
    assert [p.statement.given for p in proofs] == [True, False]
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS)
    with pytest.raises(reference.Rejected):
        reference.verify_chain(circuit.to_json(), [bytes(proofs[1])], minimum_bits=BITS)
    verify_small(circuit, proofs[1:], assume_bound=True)


def test_every_committed_cell_off_by_one(chunk):
    _, run = chunk
    whole = Liar(run)
    assert whole.broken() == set()
    keys = [*whole.plan.advice, *(("final", p) for p in range(4)), *(("initial", p) for p in (0, 2)), ("data", 0, 0)]
    for key in keys:
        shape = whole._committed(key).shape
        for cell in {0, int(np.prod(shape)) - 1}:
            if key[0] == "data" and cell // shape[1] not in run.indices:
                continue
            liar = Liar(run)
            honest, off = liar._committed, np.zeros(shape, dtype=np.uint64)
            off.reshape(-1)[cell] = 1
            liar._committed = lambda asked, key=key, honest=honest, off=off: (
                honest(asked) if asked != key else field.add(honest(asked), off)
            )
            assert liar.broken(), (key, cell)


# ---- lies ------------------------------------------------------------------------------------------------------------
def changed(circuit, p, **changes):
    """The circuit with another recurrence of one state, or other updates."""
    parameters = list(circuit.parameters)
    found = changes.pop("recurrence", {})
    recurrence_ = dataclasses.replace(parameters[p].recurrence, **found) if found else parameters[p].recurrence
    parameters[p] = dataclasses.replace(parameters[p], recurrence=recurrence_, **changes)
    return dataclasses.replace(circuit, parameters=tuple(parameters))


W, MOMENT, DECAYED, AVERAGE = range(4)
LIES = {
    "another decay": lambda c: changed(c, DECAYED, recurrence={"carry": ((DECAYED, fixed(0.96)),)}),
    "no decay": lambda c: changed(c, DECAYED, recurrence={"carry": ((DECAYED, fixed(1)),)}),
    "a moment that is reset in each step": lambda c: changed(c, MOMENT, recurrence={"carry": ()}),
    "a moment that is not fed": lambda c: changed(c, MOMENT, recurrence={"feeds": ((8, fixed(0)),)}),
    "another rate": lambda c: changed(c, W, updates=(Update(9, (2,)),)),
    "the gradient in the place of the moment": lambda c: changed(c, W, updates=(Update(8, (1,)),)),
    "the average of itself": lambda c: changed(c, AVERAGE, recurrence={"carry": ((AVERAGE, fixed(0.75)), (DECAYED, fixed(0)))}),
    "the average of another state": lambda c: changed(c, AVERAGE, recurrence={"feeds": ((2, fixed(0.125)),)}),
    "another grid": lambda c: dataclasses.replace(c, period=2),
    "rounded in each step": lambda c: dataclasses.replace(c, period=1),
    "another start": lambda c: changed(c, AVERAGE, given=Given(0, None, 0)),
    "a moment that is there at the start": lambda c: changed(c, MOMENT, given=Given(1, None, 0)),
}


def told(run, lied):
    """What a liar presents who trained something else: its integers, as a witness of the honest circuit."""
    liar, computed = Liar(run), lied.witness()
    liar.values, liar.forms, liar.final = computed.values, computed.forms, lied.final
    spans = recurrence.periods(run.first_step, run.steps, run.circuit.period)
    liar.initial = tuple((w >> s).copy() for w, s in zip(run.initial, liar.plan.shifts, strict=True))
    if len(recurrence.periods(lied.first_step, lied.steps, lied.circuit.period)) == len(spans):
        liar.states = computed.states
    return liar


@pytest.mark.parametrize("name", LIES)
def test_another_training_presented_as_this_one(chunk, name):
    circuit, run = chunk
    liar = told(run, trained(LIES[name](circuit), 5))
    broken = liar.broken()
    assert broken and broken <= {"lookup layer", "committed values", *(f"level {n}" for n in range(2, 6))}


def test_coefficients_of_another_step():
    """A schedule of decays, shifted by one step."""
    table = tuple(Fraction(n, 10) for n in range(1, 10))
    circuit = moving(max_steps=9, decay=table)
    run = trained(circuit, 5)
    assert Liar(run).broken() == set()
    other = changed(circuit, DECAYED, recurrence={"carry": ((DECAYED, fixed(*table[1:], table[0])),)})
    assert told(run, trained(other, 5)).broken()


@pytest.mark.parametrize("s", [MOMENT, DECAYED, AVERAGE])
@pytest.mark.parametrize("kind", ["hat", "final"])
def test_a_rounding_that_is_not_the_nearest(chunk, s, kind):
    """h one more, and limbs in their ranges: they do not add up to the sum that was rounded."""
    _, run = chunk
    found = run.circuit.parameters[s].recurrence
    for by in (1, -1):
        liar = Liar(run)
        if kind == "hat":
            liar.states["hat", s][0].reshape(-1)[0] += by
            liar.states["moved", s][0].reshape(-1)[0] -= by << found.end
        else:
            liar.final[s].reshape(-1)[0] += by
            liar.states["moved", s][-1].reshape(-1)[0] -= by << found.end
        assert liar.broken() & {"level 2", "level 3"}


@pytest.mark.parametrize("s", [MOMENT, DECAYED, AVERAGE])
def test_any_state_would_do_without_its_range(chunk, s, monkeypatch):
    """h = x 2^-end modulo p leaves the remainder 0: refused because h is looked up; a verifier that does not is satisfied."""
    _, run = chunk

    def liar():
        found = Liar(run)
        exponent, shape = run.circuit.parameters[s].recurrence.end, found.final[s].shape
        total = (int(found.final[s][0, 0]) << exponent) + int(found.states["moved", s][-1][0, 0]) - (1 << exponent >> 1)
        wrong = ((total + (1 << exponent >> 1)) * pow(2, -exponent, field.P)) % field.P  # 2^end h = total + half, modulo p
        assert wrong not in (int(found.final[s][0, 0]) % field.P,)
        found.states["moved", s][-1][0, 0] = 0
        honest, cell = found._committed, np.zeros(shape, dtype=np.uint64)
        cell[0, 0] = (wrong - int(found.final[s][0, 0])) % field.P
        found._committed = lambda asked: field.add(honest(asked), cell) if asked == ("final", s) else honest(asked)
        return found

    assert liar().broken()
    forms = motion.rounded
    monkeypatch.setattr(motion, "rounded", lambda *arguments: [x for x in forms(*arguments) if x[0] != ("final range", s)])
    assert liar().broken() == set()


def test_a_given_state_is_not_the_provers_choice():
    """The moment at the start is 0 by the circuit. Who starts from another one ends elsewhere, and commits to a state of his own."""
    circuit = moving()
    run = trained(circuit, 3)
    free = dataclasses.replace(circuit, parameters=tuple(dataclasses.replace(p, given=None) for p in circuit.parameters))
    weights, data = start()
    other = zkjax.train(free, [weights[0], np.full((3, 2), 40 * 2.0**-8), weights[1], weights[0]], data, steps=3)
    assert not np.array_equal(other.final[0], run.final[0])
    assert told(run, other).broken()  # as a beginning
    other.chain.geometry = SMALL
    proof = prove_small(
        circuit, dataclasses.replace(other, circuit=circuit, begins=False, coarse_shifts=(0,) * 4, widths=(0,) * 4)
    )  # a later chunk: nothing is false
    with pytest.raises(zkjax.VerificationError) as caught:
        verify_small(circuit, proof)
    assert caught.value.check == "initial bound"
    checked = proof.statement
    with pytest.raises(zkjax.VerificationError) as caught:  # and where its bounds are shown, it is no beginning
        verifier.check_chain(circuit, [dataclasses.replace(checked, widths=(circuit.table_bits,) * 4)], False)
    assert caught.value.check == "initial state"


# ---- bounds ------------------------------------------------------------------------------------------------------------
def test_bounds_are_those_of_the_rows(chunk):
    circuit, run = chunk
    found = circuit.bounds(run.initial_bound, run.steps)
    u = found.nodes[8]
    held = [max(b, 2**12) for b in run.initial_bound]
    rows = recurrence.rows(circuit, DECAYED, 0, 3)
    worst = max(abs(rows.states[DECAYED][0][j]) * held[DECAYED] + sum(map(abs, rows.feeds[DECAYED, 0][0][j])) * u for j in range(3))
    assert found.inside[DECAYED] == worst and found.final[DECAYED] == 2**12
    assert found.nodes[2] == worst
    after = recurrence.rows(circuit, MOMENT, 0, 3)
    assert found.nodes[9] == max(
        abs(after.states[MOMENT][1][j]) * held[MOMENT] + sum(map(abs, after.feeds[MOMENT, 0][1][j])) * u for j in range(3)
    )


def test_long_chains_need_no_bound_of_their_own():
    """What is rounded does not grow: chunks of any length have the bounds of a few periods."""
    circuit = moving()
    frozen = changed(circuit, W, updates=())
    initial = (2**8,) * 4
    assert frozen.bounds(initial, 10**12).nodes == frozen.bounds(initial, 9).nodes
    assert frozen.longest_chain().steps is None


def test_the_smallest_sum_that_wraps_is_refused():
    """2^end h and a remainder are the sum modulo p: below 2^63 they are it over the integers, too."""
    found, initial = {}, (2**8,) * 4
    for end in range(40, 56):
        circuit = changed(moving(), MOMENT, recurrence={"end": end})
        rows, u = recurrence.rows(circuit, MOMENT, 0, 3), circuit.node_bounds()[8]
        largest = abs(rows.states[MOMENT][2]) * 2**12 + sum(map(abs, rows.feeds[MOMENT, 0][2])) * u
        worst = max(largest + 2 ** (end + 12) + 2 ** (end - 1), largest - 2 ** (end - 1) + 2 ** (end + 12) - 1)
        try:
            found[end] = bool(circuit.bounds(initial, 3)), worst
        except zkjax.PrecisionError as error:
            assert "state m may reach" in str(error)
            found[end] = False, worst
    assert all(fits == (worst < 2**63) for fits, worst in found.values())
    assert {fits for fits, _ in found.values()} == {True, False}


def test_another_state_is_believed_without_the_bound(monkeypatch):
    """2^52 (h + 2^12) + r - 2^32 + 1 = 2^52 h + r modulo p, both in their ranges: the forgery just beyond."""
    circuit = changed(moving(), MOMENT, recurrence={"end": 52})
    with pytest.raises(zkjax.PrecisionError, match="state m may reach"):
        trained(circuit, 3)
    monkeypatch.setattr(zkjax.circuit.bounds, "LIMIT", 2**80)
    run = trained(circuit, 3)
    liar = Liar(run)
    assert liar.broken() == set()
    liar = Liar(run)
    places = np.argwhere((liar.final[MOMENT] < 0) & (liar.states["moved", MOMENT][-1] >= 2**32))
    place = tuple(places[0])
    liar.final[MOMENT][place] += 2**12
    liar.states["moved", MOMENT][-1][place] -= 2**32 - 1
    assert liar.broken() == set()


def test_a_run_is_saved_and_goes_on(tmp_path):
    circuit = moving()
    first = trained(circuit, 4)
    first.save(tmp_path / "run")
    loaded = zkjax.Run.load(tmp_path / "run")
    ends = [trained(circuit, 3, run).final for run in (first, loaded)]
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    verify_small(circuit, prove_small(circuit, loaded))
    w, v = first.params
    assert np.array_equal(w, first.final[0] * 2.0**-8) and np.array_equal(v, first.final[2] * 2.0**-8)
    assert set(loaded.params) == {"w", "v"}
    assert all(map(np.array_equal, zkjax.Run.load(tmp_path / "run", start()[0]).params, (w, v)))


def test_compiled_steps_are_the_same_integers(monkeypatch):
    circuit = moving()
    plain = trained(circuit, 5)
    monkeypatch.setattr(steps_of_training, "UNCOMPILED", 0)
    compiled = trained(circuit, 5)
    assert all(np.array_equal(a, b) for a, b in zip(plain.final, compiled.final, strict=True))
    for key, array in plain.witness().states.items():
        assert np.array_equal(array, compiled.witness().states[key])


def test_a_state_that_leaves_its_range_is_named():
    circuit = changed(moving(), DECAYED, recurrence={"bits": 4})
    with pytest.raises(zkjax.PrecisionError, match=r"after step 2: state v holds -?\d+, outside \[-16, 16\)"):
        trained(circuit, 3)


def test_what_an_auditor_reads():
    printed = " ".join(str(moving()).split())
    assert 'becomes 0.9 * "m" + 0.01562 * the gradient of the loss by "w", rounded every 3 steps within 2^12; at first 0' in printed
    assert 'becomes 0.98 * "v" - 0.003906 * the gradient of the loss by "w", rounded every 3 steps within 2^12' in printed
    assert 'becomes 0.75 * "e" + 0.125 * "v" + 0.125 * #1, rounded every 3 steps within 2^12; at first 2^0 * "w"' in printed
    assert 'minus 8 * #9: what "m" is after the step' in printed
    assert '"e": becomes 0.75 * itself + 0.125 * "v" + 0.125 * the result of its param' in printed
    assert "24 parameters in 4 tensors; all are updated" in printed and f"{moving().levels.depth} levels of products" in printed
    assert moving().learning_rates == (None,) * 4


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_sizes_are_those_of_the_plan(steps):
    circuit = moving()
    run = trained(circuit, steps)
    plan, counts = make_plan(run), circuit.counts(steps, run.widths)
    multiplicities = {table.key for table in plan.sites.tables}
    assert counts.cells == sum(math.prod(shape) for key, shape in plan.advice.items() if key not in multiplicities)
    assert counts.lookups == sum(math.prod(x.leaves) for x in plan.sites.lookups)
    assert counts.table_entries == sum(2**table.width for table in plan.sites.tables)


def test_the_same_parameters_beside_given_states_are_no_state():
    """A chunk ends in (w, v) and (m, e). A chain that begins there with given states has its parameters, and no state to pin."""
    circuit = moving()
    ended = prove_small(circuit, trained(circuit, 3)).statement
    assert [part.name for part in ended.final.parts] == ["parameters", "other"]
    begun = dataclasses.replace(ended, initial=ended.final, given=True, shifts=(0,) * 4)
    assert begun.initial_weights == ended.final_weights and begun.initial_state is None
    assert [x.names for x in begun.opened()[:2]] == [("parameters",), ("parameters", "other")]
    gone_on = dataclasses.replace(begun, given=False)
    assert gone_on.initial_state == ended.final_state != ended.final_weights == gone_on.initial_weights
    assert "other states that the circuit gives" in str(begun)


def test_hostile_recurrences_are_refused_before_they_are_worked_out():
    """Groups of eight states with eight feeds each, periods of 64 steps, long chunks: the estimate alone says no."""
    circuit = dataclasses.replace(moving(), period=64)
    run = trained(moving(), 3)
    statement = prove_small(moving(), run).statement
    feeds, carries = ((8, fixed(0.5)),) * 8, tuple((4 + j, fixed(0.5)) for j in range(7))
    own = circuit.parameters[MOMENT]
    heavy = [dataclasses.replace(own, path=f"h{i}", recurrence=Recurrence(carries, feeds, 12, 3, 5)) for i in range(7)]
    light = [dataclasses.replace(own, path=f"l{i}", recurrence=Recurrence(carries[:1], (), 12, 3, 5)) for i in range(900)]
    for extra, steps in ((heavy, 2**12), ([*heavy, *light], 64)):
        big = dataclasses.replace(circuit, parameters=(*circuit.parameters, *extra))
        count = len(big.parameters)
        of_each = dict.fromkeys(("shifts", "widths", "initial_bound", "final_bound"), (0,) * count)
        claimed = dataclasses.replace(statement, circuit=big.digest(), steps=steps, **of_each)
        with mock.patch.object(recurrence, "_rows", side_effect=AssertionError), pytest.raises(zkjax.VerificationError) as caught:
            verifier.estimate_work(big, [claimed], 10**9, 2**30)
        assert caught.value.check == "work" and "coefficients of states" in str(caught.value)


def test_outputs_are_revealed_one_by_one(chunk):
    circuit, run = chunk
    assert circuit.outputs == ("loss", "size")
    proof = prove_small(circuit, run, reveal=("size",))
    verify_small(circuit, proof)
    reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS)
    hidden, size = proof.statement.losses
    assert hidden is None and size == tuple(x for _, x in run.loss_integers)
    for losses in ((size, None), (None, tuple(x + 1 for x in size)), (None, None), (None,)):
        changed = dataclasses.replace(proof, statement=dataclasses.replace(proof.statement, losses=losses))
        with pytest.raises(zkjax.VerificationError):
            verify_small(circuit, changed)
        with pytest.raises(reference.Rejected):
            reference.verify(circuit.to_json(), bytes(changed), minimum_bits=BITS)


def test_every_committed_tensor_of_a_state_is_anchored(chunk):
    """As ``circuit.anchors`` has it for operations: what is committed stands alone, times +-1, in a lookup of its own."""
    plan = make_plan(chunk[1])
    committed = {key for key in plan.advice if key[0] != "multiplicity"}  # counts, of which a challenge asks nothing but a sum
    found: set = set()
    for _ in range(3):
        for lookup in plan.sites.lookups:
            for _, parts in lookup.columns:
                unknown = [(c, key) for c, key, *_ in parts if key in committed and key not in found]
                if len(unknown) == 1 and abs(unknown[0][0]) == 1:
                    found.add(unknown[0][1])
    assert found == committed and {"hat", "quotient"} <= {key[0] for key in found}
