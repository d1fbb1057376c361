"""What zero knowledge costs: the bytes of a proof that exist for nothing else, and the seconds that go into them.

Counted as bytes: salts of opened columns; of each column of a trace tree the entries of mask rows, and of whole rows that hold
pads and multiplication triples; the triples' two values; the folded masks (mu, folded padding, folded pads). Everything
else would travel in the clear with the same length. Not counted: that random coefficients in every row make the first level's
queries a few more.

Counted as seconds: drawing random coefficients, salts, pads and triples (measured), and encoding and hashing the rows
that hold masks and pads (their share of the tree's rows, of the tree's measured time). Not counted: adding pads to messages, and
random coefficients inside of rows, which are encoded in the same transform as the row.
"""

import importlib
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from zkjax import verifier
from zkjax.algebra.layout import Layout
from zkjax.circuit.parts import CELLS
from zkjax.commitment.geometry import MASK_ROWS
from zkjax.commitment.merkle import part_tag
from zkjax.proofs.checks import make_plan
from zkjax.proofs.proof import Proof

ALWAYS = ("salts", "triple values", "mu", "folded padding", "folded pads")  # messages that only zero knowledge needs


@dataclass(frozen=True)
class Tree:
    """A tree with mask rows: its tag, entries of a column, and how many of them hold nothing but masks, pads and triples."""

    tag: bytes
    entries: int
    hiding: int


def trace_trees(circuit, proof) -> list[Tree]:
    """The trees with mask rows that a proof opens: one, or one for each layer of the baseline without aggregation."""
    if isinstance(proof, Proof):
        plan = make_plan(circuit, proof.statement)
        layout = plan.trace_layout(verifier.dry_run(plan, proof.statement.losses).counts())
        return [_tree(0, layout, Layout(plan.advice), proof.statement.geometry.row)]
    step = proof.step(circuit)
    multiplicities = [Layout({table.key: table.shape for table in plan.sites.tables}) for plan in step.plans]
    return [_tree(n, step.mask_layout(n), bare, proof.geometry.row) for n, bare in enumerate(multiplicities)]


def _tree(number: int, layout: Layout, bare: Layout, row: int) -> Tree:
    rows = verifier.row_count(layout, row)
    return Tree(part_tag("trace", number, CELLS), rows + MASK_ROWS, rows - verifier.row_count(bare, row) + MASK_ROWS)


def messages(circuit, proof) -> list[tuple[str, int]]:
    """Label and length of every message of a valid proof, in order, as its verifier reads them."""
    if isinstance(proof, Proof):
        module, verify = verifier, partial(verifier.verify_one, minimum_bits=0)
    else:
        import sequential as module

        verify = module.verify_step
    log, original = [], module.Reader

    class Logging(original):
        def base(self, label, count, values=None):  # elements of K are read through here
            log.append((label, 8 * count))
            return super().base(label, count)

        def raw(self, label, size, data=None):
            log.append((label, size))
            return super().raw(label, size)

    module.Reader = Logging
    try:
        verify(circuit, proof)
    finally:
        module.Reader = original
    return log


def hiding_bytes(circuit, proof) -> dict[str, int]:
    """Bytes of a valid proof that exist only for zero knowledge, by what they are."""
    log = messages(circuit, proof)
    result = {label: sum(size for name, size in log if name == label) for label in ALWAYS}
    starts = [i for i, (label, _) in enumerate(log) if label == "trace root"] + [len(log)]
    columns = 0
    for tree, start, end in zip(trace_trees(circuit, proof), starts[:-1], starts[1:], strict=True):
        last = max(i for i in range(start, end) if log[i][0] == "salts")  # the trace is the last salted tree of an opening
        label, size = log[last + 1]
        if label != "columns" or size % tree.entries:
            raise ValueError(f"{label} of {size} bytes are no columns of {tree.entries} entries")
        columns += size // tree.entries * tree.hiding
    return result | {"columns of masks and pads": columns}


@dataclass
class Timed:
    """Seconds spent on randomness, and by tree (its tag) on encoding and hashing; fills up."""

    random: float = 0.0
    trees: dict[bytes, float] = field(default_factory=dict)

    def total(self, trees: list[Tree]) -> float:
        """Seconds that only zero knowledge needs."""
        return self.random + sum(self.trees[tree.tag] * tree.hiding / tree.entries for tree in trees)


@contextmanager
def timed():
    """Time what the prover does for zero knowledge: a ``Timed``. Trees are made beside one another: their seconds overlap."""
    result, lock = Timed(), threading.Lock()
    commit = importlib.import_module("zkjax.commitment.commit")  # the package's attribute of that name is the function
    modules = [(commit, "field_stream"), (commit, "stream_blocks")]
    modules += [(importlib.import_module(name), "make_masks") for name in ("zkjax.prover.prove", "sequential")]
    originals = [(module, name, getattr(module, name)) for module, name in [*modules, (commit, "encode_leaves")]]

    def drawing(function):
        def call(*arguments, **options):
            started = time.perf_counter()
            drawn = function(*arguments, **options)
            with lock:
                result.random += time.perf_counter() - started
            return drawn

        return call

    def building(function):
        def call(polynomials, entries, log_code, tag, *rest, **options):
            started = time.perf_counter()
            tree = function(polynomials, entries, log_code, tag, *rest, **options)
            with lock:
                result.trees[tag] = result.trees.get(tag, 0.0) + time.perf_counter() - started
            return tree

        return call

    for module, name, function in originals:
        setattr(module, name, (building if name == "encode_leaves" else drawing)(function))
    try:
        yield result
    finally:
        for module, name, function in originals:
            setattr(module, name, function)
