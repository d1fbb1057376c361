"""Random openings to prove, verify and attack; and streams that record or fix what passes."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.poly import eq_vector
from zkjax.commitment import Commitment, Geometry, Mask, commit, open_claim, stack, verify_claim
from zkjax.commitment.commit import Committed, Encoded, encode_leaves, members, tree_over
from zkjax.protocol.transcript import Reader, Transcript, Writer

TINY = Geometry(7, 2, 2, 4)
SMALL = Geometry(10, 2, 2, 20)  # one level of recursion


def random_base(rng, *shape):
    return rng.integers(0, P, shape, dtype=np.uint64)


@dataclass
class Case:
    """Commitments with rows of random cells and random weights of each opened part, and the value of the claim."""

    geometry: Geometry
    committed: list
    weights: list
    value: Ext
    seeds: list

    @property
    def commitments(self):
        return [c.commitment for c in self.committed]

    @property
    def parts(self) -> list[Encoded]:
        return [x for c in self.committed for x in c.members]

    @property
    def opened(self):
        return [c.opens for c in self.committed]

    def evaluate(self, row_point, column_point):
        offsets, _ = stack([part.rows for part in members(self.opened)])
        rows, columns = eq_vector(row_point), tuple(c[None] for c in eq_vector(column_point))
        total = ZERO
        for offset, w in zip(offsets, self.weights, strict=True):
            total = total + ext.dot(ext.sum(ext.mul(w, columns), axis=1), tuple(c[offset : offset + len(w[0])] for c in rows))
        return total


def make_case(geometry, row_counts, budgets=None, masked=0, seed=0) -> Case:
    """row_counts: of each commitment; a pair of them, of two parts."""
    rng = np.random.default_rng(seed)
    budgets = budgets or [1] * len(row_counts)
    mask = Mask.of(geometry, list(flat(row_counts)), budgets)
    committed, weights, value, seeds = [], [], ZERO, []
    for i, (count, budget) in enumerate(zip(row_counts, budgets, strict=True)):
        rows = [random_base(rng, n, geometry.row) for n in flat([count])]
        seeds.append(rng.bytes(32))
        committed.append(
            commit(
                rows,
                kind="trace" if i == masked else "weights",
                number=i,
                budget=budget,
                geometry=geometry,
                seed=seeds[-1],
                mask=mask if i == masked else None,
            )
        )
        for x in committed[-1].parts:
            weights.append((random_base(rng, len(x.rows), geometry.row), random_base(rng, len(x.rows), geometry.row)))
            value = value + inner(x.rows, weights[-1])
    return Case(geometry, committed, weights, value, seeds)


def flat(row_counts):
    for count in row_counts:
        yield from count if isinstance(count, tuple) else (count,)


def only_part(c: Committed) -> Encoded:
    (part,) = c.parts
    return part


def with_part(c: Committed, **changes) -> Committed:
    """With its one part changed; the tree stays."""
    return dataclasses.replace(c, parts=(dataclasses.replace(only_part(c), **changes),))


def changed_part(c: Commitment, index: int = 0, **changes) -> Commitment:
    """With another name, number of rows, or budget of a part."""
    parts = [part._replace(**changes) if i == index else part for i, part in enumerate(c.parts)]
    return dataclasses.replace(c, parts=tuple(parts))


def recommitted(c: Committed) -> Committed:
    """The same polynomials under a fresh tree."""
    n, parts, leaves = c.geometry.code, [], []
    for x in c.parts:
        salts = np.frombuffer(x.salts(range(n)), dtype="<u4").reshape(n, 4).T
        digests, codewords = encode_leaves(x.polynomials, x.entries, x.log_code, x.tag, salts, keep=True)
        parts.append(dataclasses.replace(x, codewords=codewords))
        leaves.append(digests)
    tree = tree_over(*leaves)
    commitment = dataclasses.replace(c.commitment, root=tree.root)
    return dataclasses.replace(c, parts=tuple(parts), tree=tree, opens=commitment.opened(*c.opens.names))


def inner(rows, weights) -> Ext:
    c0, c1 = ext.sum(ext.mul_base(weights, rows))
    return Ext(int(c0), int(c1))


def transcript() -> Transcript:
    return Transcript(b"parameters", b"statement")


def prove(case: Case, writer=None, value=None) -> bytes:
    writer = writer or Writer(transcript())
    open_claim(writer, case.geometry, case.committed, case.weights, case.value if value is None else value)
    return bytes(writer)


def verify(case: Case, body: bytes, commitments=None, value=None, geometry=None, script=None):
    reader = Reader(script or transcript(), body)
    value = case.value if value is None else value
    opened = case.opened if commitments is None else [c.opened() for c in commitments]
    verify_claim(reader, geometry or case.geometry, opened, case.evaluate, value)
    reader.finish()
    return reader.transcript.state


class Recorder(Writer):
    """A writer that keeps (label, kind, offset, size) of every message."""

    def __init__(self, script):
        super().__init__(script)
        self.messages = []
        self._kind = "raw"

    def elements(self, label, count, values=None):
        self._kind = "field"
        return super().elements(label, count, values)

    def base(self, label, count, values=None):
        self._kind = "field"
        return super().base(label, count, values)

    def _put(self, label, data):
        offset = sum(m[3] for m in self.messages)
        self.messages.append((label, self._kind, offset, len(data)))
        self._kind = "raw"
        super()._put(label, data)


class Frozen(Transcript):
    """Challenges fixed in advance: whatever is absorbed, the draws of one label stay the same."""

    def __init__(self, seed=0):
        super().__init__(b"", b"")
        self.events, self._seed = [], seed

    def absorb(self, label, data):
        if hasattr(self, "events"):
            self.events.append(label)

    def _draw(self, label, size):
        self.events.append(label)
        words = [self._seed, self.events.count(label), *label.encode()]
        return np.random.default_rng(words).bytes(size)
