"""Random forms: the lemma, their sums, proofs of both verifiers in which they show ranges of first weights, and lies about them."""

import dataclasses
import itertools
import json
import math
from contextlib import contextmanager
from fractions import Fraction
from unittest import mock

import numpy as np
import optax
import pytest
import tiny as tiny_nets
from harness import BITS, SMALL, Liar, prove_small, verify_small
from hypothesis import given
from hypothesis import strategies as st
from reference import verifier as reference
from test_renewal import near_the_end, presented

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.field import P
from zkjax.algebra.layout import Layout
from zkjax.algebra.poly import eq_vector
from zkjax.algebra.vectors import Vector
from zkjax.circuit import coarse, ranged
from zkjax.circuit.circuit import Circuit
from zkjax.commitment.geometry import Geometry
from zkjax.errors import FormatError, PrecisionError, UnsatisfiedWitnessError, VerificationError
from zkjax.ops import forms
from zkjax.ops.ranges import limbs, signed_bound
from zkjax.protocol.forms import Forms
from zkjax.protocol.transcript import Transcript
from zkjax.prover import prove as prover
from zkjax.prover.forms import cells_of, form_values
from zkjax.prover.prove import make_plan

FOUR = (-1, 0, 0, 1)  # coefficients, equally likely


@contextmanager
def blocks_of(cells: int, count: int = forms.COUNT):
    """Short blocks, in both verifiers, and forms of small matrices too."""
    numbers = {"BLOCK": cells, "COUNT": count, "FEWEST": 1}
    with mock.patch.multiple(forms, **numbers), mock.patch.multiple(reference, BLOCK=cells, FORMS=count):
        yield


@pytest.fixture(scope="module", autouse=True)
def short_blocks():
    with blocks_of(64):
        yield


def accepted(circuit, proofs, **options):
    """The statements, once both verifiers have accepted."""
    statements = verify_small(circuit, proofs, **options)
    reference.verify_chain(circuit.to_json(), [bytes(p) for p in proofs], minimum_bits=BITS, **options)
    return statements


# ---- the lemma ---------------------------------------------------------------------------------------------------------
def passing(p: int, width: int, vector, coefficients=FOUR) -> Fraction:
    """How likely a random form of the vector is in the signed range of this width, modulo p."""
    inside = {x % p for x in range(-(2 ** (width - 1)), 2 ** (width - 1))}
    choices = list(itertools.product(coefficients, repeat=len(vector)))
    return Fraction(sum(sum(c * y for c, y in zip(cs, vector, strict=True)) % p in inside for cs in choices), len(choices))


@pytest.mark.parametrize(("p", "width"), [(17, 3), (31, 3), (31, 4)])
def test_a_form_is_out_of_range_once_in_four(p, width):
    """All vectors of one and two residues, at the narrowest p that the lemma allows and above; 3/4 is reached."""
    least = 2 ** (width - 1)
    small = {y % p for y in range(-least + 1, least)}
    worst = max(passing(p, width, v) for n in (1, 2) for v in itertools.product(range(p), repeat=n) if not set(v) <= small)
    assert worst == Fraction(3, 4)
    assert max(passing(p, width, (y, z)) for y in (least - 1, p + 1 - least) for z in range(p)) == 1  # the bound is the best one


def test_a_lemma_needs_a_zero_and_a_large_field():
    """With -1 and 1 alone, halves modulo p always pass; where p is too small, what is out of range does."""
    assert passing(31, 3, (16, 16), (-1, 1)) == 1
    small = {y % 11 for y in range(-3, 4)}
    assert max(passing(11, 3, v) for v in itertools.product(range(11), repeat=2) if not set(v) <= small) == Fraction(13, 16)


def test_all_forms_of_a_block_together():
    assert (3 / 4) ** forms.COUNT < 2**-128 < 1 / P**2 * 1.01


@pytest.mark.parametrize("norm", [0, 1, 100.5, 2**30])
def test_widths_that_honest_forms_fit(norm):
    """A width is the least with which all forms of all blocks fit but for 2^-40."""
    for blocks in (1, 1000):
        width = forms.width(norm, blocks)
        leaving = [2 * forms.COUNT * blocks * math.exp(-((2.0 ** (w - 1) / (norm or 1e-9)) ** 2)) for w in (width, width - 1)]
        assert leaving[0] <= 2**-40 and (leaving[1] > 2**-41 or norm < 1)


# ---- sums ----------------------------------------------------------------------------------------------------------------
def test_forms_are_drawn_bit_by_bit():
    own, second = Transcript(b"parameters", b"statement"), reference.Transcript()
    second.absorb("parameters", b"parameters")
    second.absorb("statement", b"statement")
    drawn = Forms.draw(own).matrix
    assert drawn.tolist() == reference.draw_forms(second) and own.state == second.state
    assert drawn.shape == (forms.COUNT, forms.BLOCK) and [abs((drawn == c).mean() - m) < 0.02 for c, m in ((-1, 0.25), (0, 0.5), (1, 0.25))]
    shares = [(drawn == c).mean() for c in (-1, 0, 1)]
    assert np.allclose(shares, [0.25, 0.5, 0.25], atol=0.02)


@given(st.integers(0, 2**32))
def test_weights_of_cells_are_exact(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, size=(forms.COUNT, forms.BLOCK)).astype(np.int8)
    v = [[int(x) for x in rng.integers(P - 5, P, forms.COUNT, dtype=np.uint64)] for _ in range(2)]
    found = Forms(matrix).weights(Vector(np.array(c, dtype=np.uint64) for c in v))
    assert [c.tolist() for c in found] == [[sum(int(m) * x for m, x in zip(row, c)) % P for row in matrix.T] for c in v]


@pytest.mark.parametrize("blocks", [1, 3, 300])
@pytest.mark.parametrize("size", [2**20, 2**55])
def test_sums_of_cells_are_exact(blocks, size):
    rng = np.random.default_rng(blocks)
    matrix, cells = rng.integers(-1, 2, size=(7, 64)).astype(np.int8), rng.integers(-size, size, size=(blocks, 64))
    assert np.array_equal(form_values(Forms(matrix), cells), cells @ matrix.T.astype(np.int64))


@pytest.mark.parametrize("rows", [1, 2, 5, 12, 31])
def test_cells_in_blocks(rows):
    """What lies over a layout gives each cell, padding included, the weight of its place in the matrix."""
    tensors = {i: (64,) for i in range(rows - 1)} | {"last": (3, 10)}
    layout = Layout(tensors).with_cells("cells", 64, 0, rows)
    for first in range(rows):
        layout = layout.with_cells(("from", first), 64, first, rows - first)
    assert layout.shapes["cells"] == (rows, 64) and layout.size == Layout(tensors).size
    rng = np.random.default_rng(rows)
    point = [Ext(int(a), int(b)) for a, b in rng.integers(0, 2**62, size=(layout.num_vars + 2, 2))]
    found = {key: np.zeros((2, *shape), dtype=np.uint64) for key, shape in layout.shapes.items() if key not in tensors}
    for w in layout.weights(point):
        if w.key in found:
            outer = ext.mul(tuple(c[:, None] for c in w.vectors[0]), tuple(c[None] for c in w.vectors[1]))
            found[w.key] = np.stack(ext.add(tuple(found[w.key]), ext.mul(outer, ext.stack([w.scalar]))))
    every = np.stack(eq_vector(point, rows * 64))
    assert np.array_equal(found["cells"].reshape(2, -1), every)
    assert all(np.array_equal(found["from", first].reshape(2, -1), every[:, first * 64 :]) for first in range(rows))


# ---- proofs -------------------------------------------------------------------------------------------------------------
DIMS, BLOCKS = (3, 16, 6), 4  # 166 parameters, with padding four blocks


@pytest.fixture(scope="module")
def chain():
    """(circuit, runs, proofs): the first chunk shows its ranges by forms, the second none, the third renews its bounds by forms."""
    circuit, run = tiny_nets.tiny_run(DIMS, shard_size=5)
    second = near_the_end(circuit, tiny_nets.next_run(circuit, run))
    runs = [run, second, tiny_nets.next_run(circuit, second)]
    return circuit, runs, [prove_small(circuit, r) for r in runs]


def test_chains(chain):
    circuit, runs, proofs = chain
    first, second, third = runs
    assert [min(r.widths) < 0 for r in runs] == [True, False, True] and [len(make_plan(r).formed) for r in runs] == [1, 0, 2]
    assert not any(second.widths) and min(third.widths) > -64
    assert third.initial_bound == tuple(signed_bound(-w) for w in third.widths)
    statements = accepted(circuit, proofs[:1]) + accepted(circuit, proofs[1:], assume_bound=True)
    assert [s.assumed for s in statements] == [False, True, False]
    accepted(circuit, proofs[2:])  # it stands for itself
    assert "proven here" in str(proofs[0].statement)
    assert dict(zkjax.ledger(circuit, proofs[0]).terms)["forms"] == pytest.approx(128)
    assert "forms" not in dict(zkjax.ledger(circuit, proofs[1]).terms)


def test_sizes_are_those_of_the_plan(chain):
    circuit, runs, _ = chain
    for run in runs:
        plan, counts = make_plan(run), circuit.counts(2, run.widths)
        multiplicities = {table.key for table in plan.sites.tables}
        assert counts.cells == sum(math.prod(shape) for key, shape in plan.advice.items() if key not in multiplicities)
        assert counts.lookups == sum(math.prod(x.leaves) for x in plan.sites.lookups)
        assert counts.table_entries == sum(2**table.width for table in plan.sites.tables)
        found = [(x.count * forms.COUNT, len(limbs(x.width, circuit.table_bits))) for x in plan.formed]
        assert sum(x.count for x in plan.formed) == (BLOCKS if any(run.widths) else 0)
        assert circuit.range_check(run.widths) == (sum(n * (count - 1) for n, count in found), sum(n * count for n, count in found))


def test_blocks_of_full_length():
    """The numbers of the format, in the smallest geometry that has room for them."""
    with blocks_of(4096):
        circuit, run = tiny_nets.tiny_run((4, 80, 60), shard_size=5)
        assert make_plan(run).formed == [("initial", 0, 2, -run.widths[0])] and ranged.layout(circuit, "initial").size > 4096
        run.chain.geometry = Geometry(12, 2, 4, level_bits=20)
        accepted(circuit, [prove_small(circuit, run)])


@pytest.mark.parametrize(("fewest", "formed"), [(1, {0, 1, 2, 3}), (2, {3}), (3, set())])
def test_states_in_few_blocks_keep_limbs(fewest, formed):
    """The matrix of the last layer fills two blocks, that of the first one, and the biases share one; both verifiers take what is mixed."""
    with mock.patch.object(forms, "FEWEST", fewest):
        circuit, run = tiny_nets.tiny_run(DIMS, shard_size=5)
    assert circuit.blocks == {"initial": ((0, 2, (3,)), (2, 3, (1,)), (3, 4, (0, 2)))}
    assert {p for p, width in enumerate(run.widths) if width < 0} == formed and all(run.widths)
    if fewest == 2:
        assert make_plan(run).formed == [("initial", 0, 2, -run.widths[3])]
        accepted(circuit, [prove_small(circuit, run), prove_small(circuit, tiny_nets.next_run(circuit, run))])


def test_limbs_where_bounds_would_not_hold():
    """Forms show wider ranges: a chunk for which bounds hold only with those of limbs shows these."""
    circuit, run = tiny_nets.tiny_run(DIMS)
    with mock.patch.object(forms, "FEWEST", 2**20):
        _, narrow = tiny_nets.tiny_run(DIMS)
    derived, tried = Circuit.bounds, []

    def bounds(self, initial, *given, **named):
        tried.append(initial)
        if max(initial) > max(narrow.initial_bound):
            raise PrecisionError("they do not hold with those of forms")
        return derived(self, initial, *given, **named)

    with mock.patch.object(Circuit, "bounds", bounds):
        again = zkjax.train(circuit, tiny_nets_params(run), run.data, steps=2, seed=1)
        assert again.widths == narrow.widths and min(again.widths) > 0 and tried == [run.initial_bound, narrow.initial_bound]
        assert min(coarse.first(circuit, 2)[0]) > 0 and min(coarse.renewal(circuit, 2, 2)[0]) > 0
    assert max(coarse.first(circuit, 2)[0]) < 0 and max(coarse.renewal(circuit, 2, 2)[0]) < 0


def tiny_nets_params(run):
    """The first parameters in floating point."""
    return [np.asarray(w * float(run.circuit.unit(p)), np.float32) for p, w in enumerate(run.initial)]


def test_people_are_told(chain):
    circuit, runs, _ = chain
    cells, lookups = circuit.range_check(coarse.renewal(circuit, 1, 0)[0])
    assert f"range-checks its first weights, by random forms, with {cells:,} cells and {lookups:,} lookups" in " ".join(
        str(circuit).split()
    )
    assert f"range check of {circuit.range_check(runs[2].widths)[1]:,} lookups" in str(runs[2])
    found = zkjax.estimate(circuit, 4, chunk=2, samples=12)
    assert found.parts[0].lookups == circuit.counts(2, coarse.first(circuit, 2)[0]).lookups


def test_runs_are_saved(chain, tmp_path):
    circuit, runs, _ = chain
    runs[0].save(tmp_path / "run")
    assert zkjax.Run.load(tmp_path / "run").widths == runs[0].widths


def test_given_states_and_frozen_parameters():
    """Forms are of the part "parameters" alone; frozen parameters are a matrix of their own, and so have a range of their own."""
    params = tiny_nets.mlp_params(DIMS, 0, True)
    optimizer = optax.multi_transform(
        {"on": optax.sgd(1 / 32, momentum=0.5), "off": optax.set_to_zero()}, [{"w": "off", "b": "off"}, {"w": "on", "b": "on"}]
    )
    circuit, run = tiny_nets.tiny_run(DIMS, shard_size=5, optimizer=optimizer)
    assert len(params) == 2 and circuit.given and circuit.frozen
    plan = make_plan(run)
    assert {x.name for x in plan.formed} == {"initial", "frozen"} and plan.given
    assert [run.widths[p] for p in circuit.given] == [0] * len(circuit.given)
    later = tiny_nets.next_run(circuit, run)
    accepted(circuit, [prove_small(circuit, run), prove_small(circuit, later)])
    mixed = dataclasses.replace(run, widths=tuple(13 if p in circuit.frozen else w for p, w in enumerate(run.widths)))
    mixed = presented(circuit, mixed, initial_bound=coarse.shown(circuit, run.coarse_shifts, mixed.widths))
    assert {x.name for x in make_plan(mixed).formed} == {"initial"}
    accepted(circuit, [prove_small(circuit, mixed)])


# ---- lies ----------------------------------------------------------------------------------------------------------------
def narrower(run, bits: int, *states: int):
    """The run with a narrower range of its forms, those of these states or all, and the bounds that it shows."""
    widths = tuple(w + bits if p in states or not states else w for p, w in enumerate(run.widths))
    return presented(run.circuit, run, widths=widths, initial_bound=coarse.shown(run.circuit, run.coarse_shifts, widths))


def test_weights_out_of_range(chain):
    """A range that does not hold the cells: no prover has limbs, and a proof with other ones is refused."""
    circuit, (run, *_), _ = chain
    largest = max(int(np.abs(w >> s).max()) for w, s in zip(run.initial, run.coarse_shifts, strict=True))
    lying = narrower(run, -run.widths[0] - largest.bit_length())
    assert signed_bound(-lying.widths[0]) <= largest
    with pytest.raises(UnsatisfiedWitnessError, match="form range"):
        prove_small(circuit, lying)
    proof = prove_small(circuit, narrower(run, -run.widths[0] - largest.bit_length()), check=False)
    with pytest.raises(VerificationError, match="^opening"):
        verify_small(circuit, proof)


@pytest.mark.parametrize("states", [(3,), (1,), (0, 2)])
def test_weights_out_of_range_in_some_blocks(chain, states):
    """Other blocks have a range that holds them."""
    circuit, (run, *_), _ = chain
    largest = max(int(np.abs(run.initial[p] >> run.coarse_shifts[p]).max()) for p in states)
    lying = narrower(run, -run.widths[states[0]] - max(1, largest.bit_length()), *states)
    assert signed_bound(-lying.widths[states[0]]) <= max(1, largest) and len(make_plan(lying).formed) == 2 + (states == (1,))
    with pytest.raises(UnsatisfiedWitnessError, match="form range"):
        prove_small(circuit, lying)
    proof = prove_small(circuit, lying, check=False)
    with pytest.raises(VerificationError, match="^opening"):
        verify_small(circuit, proof)


@pytest.mark.parametrize("limb", [0, 1])
def test_limbs_of_forms(chain, limb):
    """A limb off by one, or off its table, breaks the lookups."""
    _, (run, *_), _ = chain
    liar = Liar(run)
    assert liar.broken() == set()
    for change in (1, 2**9):
        liar = Liar(run)
        liar.broken()
        liar.witness.tensors["form range", "initial", 0, limb][1, 5] += change
        assert "lookup layer" in liar.broken()


def test_other_forms_than_those_drawn(chain):
    circuit, (run, *_), _ = chain
    drawn = Forms.draw

    class Other:
        @staticmethod
        def draw(transcript):
            return Forms(np.ascontiguousarray(drawn(transcript).matrix[:, ::-1]))

    presented(circuit, run)
    with mock.patch.object(prover, "Forms", Other):
        proof = prove_small(circuit, run)
    with pytest.raises(VerificationError, match="^opening"):
        verify_small(circuit, proof)


def test_forms_that_are_known_before_the_commitment():
    """Two equal columns of a known M, and weights that cancel there: any weights would pass. Drawn after the commitment, M refuses them."""
    with blocks_of(64, count=8):
        known = Forms.draw(Transcript(b"known", b"before"))
        known.matrix[:, 1] = known.matrix[:, 0]
        circuit, run = tiny_nets.tiny_run((3, 4, 2), bias=False)
        first = [np.zeros(x.shape, np.float32) for x in run.initial]
        places = cells_of(circuit, "initial", [np.arange(x.size).reshape(x.shape) + 100 * p + 1 for p, x in enumerate(run.initial)])[0]
        for place, value in zip(places[:2].tolist(), (0.75, -0.75), strict=True):
            first[place // 100].reshape(-1)[place % 100 - 1] = value
        run = zkjax.train(circuit, first, run.data, steps=2, seed=1)
        run.chain.geometry = SMALL
        lying = narrower(run, -run.widths[0] - 2)  # of two bits
        with mock.patch.object(Forms, "draw", staticmethod(lambda transcript: known)):
            assert verify_small(circuit, prove_small(circuit, lying)).initial_bound == lying.initial_bound
        lying = narrower(run, -run.widths[0] - 2)
        with pytest.raises(UnsatisfiedWitnessError, match="form range"):
            prove_small(circuit, lying)


# ---- statements ------------------------------------------------------------------------------------------------------------
def refused(circuit, proof, check, **changes):
    """Both verifiers refuse an altered statement, zkjax for this reason."""
    altered = zkjax.Proof(dataclasses.replace(proof.statement, **changes), proof.body)
    with pytest.raises(VerificationError, match=check):
        verify_small(circuit, altered, assume_bound=True)
    with pytest.raises(reference.Rejected):
        reference.verify_chain(circuit.to_json(), [bytes(altered)], minimum_bits=BITS, assume_bound=True)


def test_statements_about_forms(chain):
    circuit, (run, *_), (proof, *_) = chain
    s, w = proof.statement, proof.statement.widths
    part = "^statement: random forms show one range"
    refused(circuit, proof, part, widths=(w[0] + 1, *w[1:]))
    assert circuit.blocks["initial"][-1].states == (0, 2)  # one block
    refused(circuit, proof, part, widths=(0, *w[1:]))
    refused(circuit, proof, part, widths=(-w[0], *w[1:]))
    refused(circuit, proof, "^bounds: the initial bound is smaller", initial_bound=(s.initial_bound[0] - 1, *s.initial_bound[1:]))
    refused(circuit, proof, "^bounds: the initial bound is smaller", widths=tuple(x - 1 for x in w))
    refused(circuit, proof, None, widths=tuple(x + 1 for x in w))
    refused(circuit, proof, None, widths=tuple(-x for x in w))
    refused(
        circuit,
        proof,
        "^geometry: rows of 32 cells are too short",
        geometry=dataclasses.replace(s.geometry, log_row=5, max_budget=1, level_bits=1),
    )
    for beyond in (-63, 63):
        fields = s.to_json() | {"widths": [beyond] * len(w)}
        with pytest.raises(FormatError, match="widths"):
            zkjax.proofs.statement.Statement.parse(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def test_given_states_have_no_forms(chain):
    """A negative width of a state that is in no matrix of forms is refused."""
    circuit, _ = tiny_nets.tiny_run(DIMS, optimizer=optax.sgd(1 / 32, momentum=0.5))
    widths = [0] * len(circuit.parameters)
    assert ranged.well_formed(circuit, widths) and ranged.well_formed(circuit, [9] * len(widths))
    for p in circuit.given:
        assert not ranged.well_formed(circuit, [-9 if q == p else 0 for q in range(len(widths))])
    own = ranged.matrices(circuit)["initial"]
    assert ranged.well_formed(circuit, [-9 if q in own else 9 for q in range(len(widths))])
    for x in circuit.blocks["initial"]:  # all that share a block, or none
        for q in x.states:
            assert ranged.well_formed(circuit, [-9 if p == q else 9 for p in range(len(widths))]) == (len(x.states) == 1)
    assert own == tuple(sorted({p for x in circuit.blocks["initial"] for p in x.states}))
