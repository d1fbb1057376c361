"""Zero knowledge of the opening as linear algebra over F, on the prover's own code.

With challenges fixed, everything the prover sends in the clear is F-linear in the committed cells (A) and in the
randomness (B). Three proofs are probed with every unit vector, each with a trace, weights of two parts and a shard of its
own; which of them are one commitment is chosen afterwards, for each part of a tree by itself. In a chain, two proofs share the weights
and the shard, up to the budgets of both.
Nothing leaks exactly if what the randomness cannot hide is a function of the public values <F, W>:

    leak = rank(rows of the view modulo span(B), together with the claims) - number of claims = 0.

Each broken variant takes some randomness away, or uses it once too often, and must leak.
"""

import dataclasses

import numpy as np
import pytest
from commitment_cases import inner, make_case, only_part, random_base

from zkjax.algebra import field
from zkjax.algebra.extension import ZERO
from zkjax.algebra.field import P
from zkjax.commitment import Geometry, commit, open_claim
from zkjax.kernels.threads import scope

GEOMETRY = Geometry(5, 2, 2, 1)  # rows of 32, code length 128, 2 queries
Q, K, PADS = GEOMETRY.queries, GEOMETRY.row, 6
KINDS, ROWS, BUDGETS = ("trace", "parameters", "other", "shard"), [2, (1, 1), 1], [1, 2, 2]  # l0 = 3; weights have two parts
PROOFS = 3  # one more than weights and shard carry


class View:
    """A message stream and transcript at once: fixed challenges, keeps what is sent in the clear."""

    proving = True

    def __init__(self, proof: int):
        self.transcript, self.sent, self._rng = self, [], np.random.default_rng(100 + proof)
        self._indices = [5 + proof, 77 + 9 * proof]

    def absorb(self, label, data):
        pass

    def challenge(self, label):
        from zkjax.algebra.extension import Ext

        return Ext(*(int(v) for v in random_base(self._rng, 2)))

    def indices(self, label, count, log_size):
        assert count == len(self._indices)
        return self._indices

    def elements(self, label, count, values=None):
        self.sent += [np.asarray(c).reshape(-1) for c in values]
        return tuple(np.asarray(c) for c in values)

    def base(self, label, count, values=None):
        self.sent.append(np.asarray(values).reshape(-1))
        return np.asarray(values)

    def raw(self, label, size, data=None):
        return data


def view(case, proof: int) -> np.ndarray:
    stream = View(proof)
    open_claim(stream, GEOMETRY, case.committed, case.weights, case.value)
    return np.concatenate(stream.sent)


@dataclasses.dataclass
class Probed:
    """Columns of the joint view by name of the cells, each (view, cells), and the claims (claims, cells) on rows.

    A name ends in the number of its proof; size: elements that one proof sends.
    """

    columns: dict
    claims: dict
    size: int


@pytest.fixture(scope="module")
def probed() -> Probed:
    with scope():
        return probe()


def proof_case(proof: int):
    """Random commitments of one proof, the last of them to a shard of a dataset."""
    case = make_case(GEOMETRY, ROWS, BUDGETS, seed=1 + proof)
    rows = only_part(case.committed[-1]).rows
    case.committed[-1] = commit(rows, kind="shard", number=0, budget=BUDGETS[-1], geometry=GEOMETRY, seed=bytes(32))
    return case


def probe() -> Probed:
    columns, claims, size = {}, {}, None
    for proof in range(PROOFS):
        case = proof_case(proof)
        assert [c.commitment.kind for c in case.committed] == ["trace", "weights", "shard"]
        size = size or len(view(case, proof))
        empty = [blank(c) for c in case.committed]
        assert not view(dataclasses.replace(case, committed=empty), proof).any()
        arrays = {kind: (which, "rows", None) for which, kind in enumerate(KINDS)}
        arrays |= {f"{kind} padding": (which, "padding", None) for which, kind in enumerate(KINDS)}
        arrays |= {name: (0, "mask", part) for part, name in enumerate(("g", "s", "s'"))}
        for name, (which, attribute, part) in arrays.items():
            array = getattr(case.parts[which], attribute) if part is None else case.parts[which].mask[part]
            block = []
            for at in np.ndindex(array.shape):
                unit = np.zeros_like(array)
                unit[at] = 1
                value = unit if part is None else tuple(unit if i == part else m for i, m in enumerate(empty[0].parts[0].mask))
                changed = with_member(empty, which, **{attribute: value})
                block.append(view(dataclasses.replace(case, committed=changed), proof))
            columns[f"{name} {proof}"] = np.zeros((PROOFS * size, len(block)), dtype=np.uint64)
            columns[f"{name} {proof}"][proof * size : (proof + 1) * size] = np.array(block).T
            if attribute == "rows":
                claims[f"{name} {proof}"] = np.zeros((2 * PROOFS, array.size), dtype=np.uint64)
                for component in range(2):
                    claims[f"{name} {proof}"][2 * proof + component] = case.weights[which][component].reshape(-1)
    return Probed(columns, claims, size)


def blank(c):
    def zero(x):
        mask = x.mask and tuple(np.zeros_like(m) for m in x.mask)
        return dataclasses.replace(x, rows=np.zeros_like(x.rows), padding=np.zeros_like(x.padding), mask=mask, codewords=None)

    return dataclasses.replace(c, parts=tuple(map(zero, c.parts)))


def with_member(committed, which: int, **changes):
    """With one of the stack's parts changed."""
    numbers = iter(range(len(KINDS)))
    return [
        dataclasses.replace(c, parts=tuple(dataclasses.replace(x, **changes) if next(numbers) == which else x for x in c.parts))
        for c in committed
    ]


def eliminate(matrix, columns: int):
    """Row-reduce over F on the first ``columns`` columns; returns their rank and the rows left without a pivot."""
    matrix, done = matrix.copy(), 0
    for column in range(columns):
        rows = np.flatnonzero(matrix[done:, column])
        if not len(rows):
            continue
        pivot = done + rows[0]
        matrix[[done, pivot]] = matrix[[pivot, done]]
        scale = np.array([pow(int(matrix[done, column]), -1, P)], dtype=np.uint64)
        matrix[done, column:] = field.mul(matrix[done, column:], scale)
        below = done + 1 + np.flatnonzero(matrix[done + 1 :, column])
        if len(below):
            product = field.mul(matrix[below, column][:, None], matrix[done, column:][None])
            matrix[below, column:] = field.sub(matrix[below, column:], product)
        done += 1
    return done, matrix[done:, columns:]


def leak(witness, claims, randomness) -> tuple[int, int]:
    """(leak, rank of what the view determines about the witness)."""
    random = np.concatenate(list(randomness.values()), axis=1)
    cells = np.concatenate(list(witness.values()), axis=1)
    _, rest = eliminate(np.concatenate([random, cells], axis=1), random.shape[1])
    public = np.concatenate(list(claims.values()), axis=1)
    determined, _ = eliminate(rest[rest.any(axis=1)], rest.shape[1])
    together, _ = eliminate(np.concatenate([public, rest[rest.any(axis=1)]]), rest.shape[1])
    known, _ = eliminate(public, public.shape[1])
    return together - known, determined


def shared(columns, name, *others):
    """All these proofs use the cells ``name``; ``others`` disappear."""
    merged = {key: c for key, c in columns.items() if key not in others}
    for other in others:
        merged[name] = merged[name] | columns[other]  # of different proofs, so of different rows
    return merged


def one_commitment(parts, kind, *proofs):
    """These proofs open one and the same commitment of this kind."""
    names, paddings = [f"{kind} {n}" for n in proofs], [f"{kind} padding {n}" for n in proofs]
    witness, claims, randomness = parts
    return shared(witness, *names), shared(claims, *names), shared(randomness, *paddings)


def separate(probed, proofs: int):
    """(witness, claims, randomness) of the first proofs, which share no commitment."""
    columns = {name: c[: proofs * probed.size] for name, c in probed.columns.items() if int(name.split()[-1]) < proofs}
    claims = {name: c[: 2 * proofs] for name, c in probed.claims.items() if name in columns}
    return {name: columns[name] for name in claims}, claims, {name: c for name, c in columns.items() if name not in claims}


@pytest.fixture(scope="module")
def chain(probed):
    """Two proofs that open the same weights, both parts, and the same shard."""
    parts = separate(probed, 2)
    for kind in KINDS[1:]:
        parts = one_commitment(parts, kind, 0, 1)
    return parts


def test_probing_is_linear(probed):
    """The view of a random case is the matrix times its cells: so the matrix is the prover."""
    with scope():
        case = proof_case(0)
        cells = {f"{kind} 0": x.rows for kind, x in zip(KINDS, case.parts)}
        cells |= {f"{kind} padding 0": x.padding for kind, x in zip(KINDS, case.parts)}
        cells |= dict(zip(("g 0", "s 0", "s' 0"), case.parts[0].mask))
        sent = view(case, 0)
    total = np.zeros(len(sent), dtype=np.uint64)
    for name, values in cells.items():
        total = field.add(total, field.sum(field.mul(probed.columns[name][: len(sent)], values.reshape(1, -1)), axis=1))
    assert np.array_equal(total, sent)
    assert sum((inner(x.rows, w) for x, w in zip(case.parts, case.weights)), ZERO) == case.value


def test_recipe_leaks_nothing(chain):
    """Two claims over K are four over F: they, and nothing else, are determined."""
    assert leak(*chain) == (0, 4)


def keep(columns, shape, mask):
    """The columns of cells where ``mask`` (broadcast to their array's shape) is true."""
    return columns[:, np.broadcast_to(mask, shape).reshape(-1)]


S_LENGTH, G_LENGTH = PADS + Q, K + 2 * Q
_s, _g, _t, _w = np.arange(S_LENGTH), np.arange(G_LENGTH), np.arange(Q), np.arange(2 * Q)
BROKEN = {
    "S with q-1 random coefficients": ("s 0", (2, S_LENGTH), _s < S_LENGTH - 1),
    "S with q-1 random coefficients in the second proof": ("s 1", (2, S_LENGTH), _s < S_LENGTH - 1),
    "s' zero": ("s' 0", (2, S_LENGTH), _s >= PADS),
    "random part of S' zero": ("s' 0", (2, S_LENGTH), _s < PADS),
    "mask row over F": ("g 0", (2, G_LENGTH), np.array([[True], [False]])),
    "G with k + q coefficients": ("g 0", (2, G_LENGTH), _g < K + Q),
    "first round without pads": ("s 0", (2, S_LENGTH), _s >= 2),
    "second round without its second pad": ("s 0", (2, S_LENGTH), _s != 3),
    "pads over F": ("s 0", (2, S_LENGTH), (_s >= PADS) | np.array([[True], [False]])),
    "trace rows with q-1 random coefficients": ("trace padding 0", (2, Q), _t < Q - 1),
    "parameters of budget 1 opened twice": ("parameters padding 0", (1, 2 * Q), _w < Q),
    "parameters with 2q-1 random coefficients": ("parameters padding 0", (1, 2 * Q), _w < 2 * Q - 1),
    "other states of budget 1 opened twice": ("other padding 0", (1, 2 * Q), _w < Q),
    "other states with 2q-1 random coefficients": ("other padding 0", (1, 2 * Q), _w < 2 * Q - 1),
    "a shard of budget 1 opened twice": ("shard padding 0", (1, 2 * Q), _w < Q),
    "a shard with 2q-1 random coefficients": ("shard padding 0", (1, 2 * Q), _w < 2 * Q - 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_variants_leak(chain, name):
    witness, claims, randomness = chain
    cells, shape, mask = BROKEN[name]
    assert leak(witness, claims, randomness | {cells: keep(randomness[cells], shape, mask)})[0] > 0


def test_masks_used_twice_leak(chain):
    witness, claims, randomness = chain
    for name in ("g", "s", "s'"):
        assert leak(witness, claims, shared(randomness, f"{name} 0", f"{name} 1"))[0] > 0, name


def test_one_trace_opened_twice_leaks(chain):
    """Fresh masks do not help: the trace's rows have q random coefficients only."""
    assert leak(*one_commitment(chain, "trace", 0, 1))[0] > 0


@pytest.mark.parametrize("kind", KINDS[1:])
def test_one_opening_beyond_the_budget_leaks(probed, kind):
    """A third proof opens a commitment of budget 2, or a part, once more; a new one in its place leaks nothing.

    So a proof that opens one part alone uses up nothing of the other one.
    """
    three = separate(probed, 3)
    for other in KINDS[1:]:
        three = three if other == kind else one_commitment(three, other, 0, 1)
    assert leak(*one_commitment(three, kind, 0, 1)) == (0, 6)
    assert leak(*one_commitment(three, kind, 0, 1, 2))[0] > 0


def test_one_stream_of_coefficients_for_both_parts_leaks(chain):
    """Why each part has its own: the same coefficients in both show the difference of their cells."""
    witness, claims, randomness = chain
    both = field.add(randomness["parameters padding 0"], randomness["other padding 0"])
    rest = {name: c for name, c in randomness.items() if name != "other padding 0"}
    assert leak(witness, claims, rest | {"parameters padding 0": both})[0] > 0
