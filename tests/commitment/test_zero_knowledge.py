"""Zero knowledge of the opening as linear algebra over F, on the prover's own code.

With challenges fixed, everything the prover sends in the clear is F-linear in the committed cells (A) and in the
randomness (B). Two proofs of a chain, which share the weights, are probed with every unit vector. Nothing leaks exactly
if what the randomness cannot hide is a function of the public values <F, W>:

    leak = rank(rows of the view modulo span(B), together with the claims) - number of claims = 0.

Each broken variant takes some randomness away, or uses it twice, and must leak.
"""

import dataclasses

import jax
import numpy as np
import pytest
from commitment_cases import inner, make_case, random_base

from zkjax import field
from zkjax.commitment import Geometry, open_claim
from zkjax.field import P

GEOMETRY = Geometry(5, 2, 2, 1)  # rows of 32, code length 128, 2 queries
Q, K, PADS = GEOMETRY.queries, GEOMETRY.row, 4
ROWS, BUDGETS = [2, 2], [1, 2]  # a trace and weights; l0 = 2


class View:
    """A message stream and transcript at once: fixed challenges, keeps what is sent in the clear."""

    proving = True

    def __init__(self, proof: int):
        self.transcript, self.sent, self._rng = self, [], np.random.default_rng(100 + proof)
        self._indices = [5 + proof, 77 + 9 * proof]

    def absorb(self, label, data):
        pass

    def challenge(self, label):
        from zkjax.extension import Ext

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
class Chain:
    """Columns of the joint view by name of the cells, each (view, cells), and the claims (claims, cells) on rows."""

    columns: dict
    claims: dict
    size: int


@pytest.fixture(scope="module")
def chain() -> Chain:
    with jax.enable_x64(True):
        return probe_chain()


def probe_chain() -> Chain:
    cases = [make_case(GEOMETRY, ROWS, BUDGETS, seed=seed) for seed in (1, 2)]
    sizes = [len(view(case, proof)) for proof, case in enumerate(cases)]
    columns, claims = {}, {}
    for proof, case in enumerate(cases):
        trace, weights = case.committed
        empty = [blank(c) for c in (trace, weights)]
        assert not view(dataclasses.replace(case, committed=empty), proof).any()
        arrays = {
            f"trace {proof}": (0, "rows", None),
            "weights": (1, "rows", None),
            f"trace padding {proof}": (0, "padding", None),
            "weights padding": (1, "padding", None),
            f"g {proof}": (0, "mask", 0),
            f"s {proof}": (0, "mask", 1),
            f"s' {proof}": (0, "mask", 2),
        }
        for name, (which, attribute, part) in arrays.items():
            array = getattr(case.committed[which], attribute) if part is None else case.committed[which].mask[part]
            block = []
            for at in np.ndindex(array.shape):
                unit = np.zeros_like(array)
                unit[at] = 1
                changed = list(empty)
                value = unit if part is None else tuple(unit if i == part else m for i, m in enumerate(empty[0].mask))
                changed[which] = dataclasses.replace(empty[which], **{attribute: value})
                block.append(view(dataclasses.replace(case, committed=changed), proof))
            place = np.zeros((sum(sizes), len(block)), dtype=np.uint64)
            start = proof * sizes[0]
            place[start : start + sizes[proof]] = np.array(block).T
            columns[name] = columns[name] | place if name in columns else place
            if attribute == "rows":
                claims.setdefault(name, np.zeros((4, array.size), dtype=np.uint64))
                for component in range(2):
                    claims[name][2 * proof + component] = case.weights[which][component].reshape(-1)
    return Chain(columns, claims, sum(sizes))


def blank(c):
    mask = c.mask and tuple(np.zeros_like(m) for m in c.mask)
    return dataclasses.replace(c, rows=np.zeros_like(c.rows), padding=np.zeros_like(c.padding), mask=mask, codewords=None)


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


def leak(chain, witness, claims, randomness) -> tuple[int, int]:
    """(leak, rank of what the view determines about the witness)."""
    random = np.concatenate(list(randomness.values()), axis=1)
    cells = np.concatenate(list(witness.values()), axis=1)
    _, rest = eliminate(np.concatenate([random, cells], axis=1), random.shape[1])
    public = np.concatenate(list(claims.values()), axis=1)
    determined, _ = eliminate(rest[rest.any(axis=1)], rest.shape[1])
    together, _ = eliminate(np.concatenate([public, rest[rest.any(axis=1)]]), rest.shape[1])
    known, _ = eliminate(public, public.shape[1])
    return together - known, determined


def parts(chain):
    witness = {name: chain.columns[name] for name in chain.claims}
    randomness = {name: c for name, c in chain.columns.items() if name not in chain.claims}
    return witness, dict(chain.claims), randomness


def test_probing_is_linear(chain):
    """The view of a random case is the matrix times its cells: so the matrix is the prover."""
    with jax.enable_x64(True):
        case = make_case(GEOMETRY, ROWS, BUDGETS, seed=1)
        trace, weights = case.committed
        cells = {"trace 0": trace.rows, "weights": weights.rows, "trace padding 0": trace.padding, "weights padding": weights.padding}
        cells |= dict(zip(("g 0", "s 0", "s' 0"), trace.mask))
        sent = view(case, 0)
    total = np.zeros(len(sent), dtype=np.uint64)
    for name, values in cells.items():
        total = field.add(total, field.sum(field.mul(chain.columns[name][: len(sent)], values.reshape(1, -1)), axis=1))
    assert np.array_equal(total, sent)
    assert inner(trace.rows, case.weights[0]) + inner(weights.rows, case.weights[1]) == case.value


def test_recipe_leaks_nothing(chain):
    """Two claims over K are four over F: they, and nothing else, are determined."""
    assert leak(chain, *parts(chain)) == (0, 4)


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
    "weights of budget 1 opened twice": ("weights padding", (2, 2 * Q), _w < Q),
    "weights with 2q-1 random coefficients": ("weights padding", (2, 2 * Q), _w < 2 * Q - 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_variants_leak(chain, name):
    witness, claims, randomness = parts(chain)
    cells, shape, mask = BROKEN[name]
    randomness[cells] = keep(randomness[cells], shape, mask)
    assert leak(chain, witness, claims, randomness)[0] > 0


def shared(columns, first, second):
    """Both proofs use the cells ``first``; ``second`` disappears."""
    merged = {name: c for name, c in columns.items() if name not in (first, second)}
    return merged | {first: columns[first] | columns[second]}


def test_masks_used_twice_leak(chain):
    witness, claims, randomness = parts(chain)
    for name in ("g", "s", "s'"):
        reused = shared(randomness, f"{name} 0", f"{name} 1")
        assert leak(chain, witness, claims, reused)[0] > 0, name


def test_one_trace_opened_twice_leaks(chain):
    """Fresh masks do not help: the trace's rows have q random coefficients only."""
    witness, claims, randomness = parts(chain)
    randomness = shared(randomness, "trace padding 0", "trace padding 1")
    assert leak(chain, shared(witness, "trace 0", "trace 1"), shared(claims, "trace 0", "trace 1"), randomness)[0] > 0
