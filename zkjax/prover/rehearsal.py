"""Compiling ahead: the argument's kernels run on zeros, in threads beside the commitments.

Kernels work on tiles of fixed shapes, so a sumcheck of a few tiles meets the shapes of one of thousands. A first proof would
else spend most of its time waiting for the compiler, kernel by kernel. Nothing here touches a secret or a message.
"""

from collections import Counter
from functools import lru_cache
from math import prod

import numpy as np

from ..algebra.extension import Ext
from ..algebra.poly import num_bits
from ..ops.products import Dot, Gate
from ..protocol.plan import Plan

_ANY = Ext(1, 1)


def rehearse(plan: Plan, row: int) -> None:
    """Compile what proving this plan takes, with rows of that length, unless this process has done so."""
    from ..kernels.threads import THREADS, in_background
    from ..kernels.tiles import LOG_TILE

    circuit, most = plan.circuit, LOG_TILE + 4 + num_bits(THREADS)  # variables: from here on all shapes occur in all threads
    masks = Counter(circuit.nodes[i].inputs[0] for i in circuit.of(Gate.name))
    gates = plan.steps * sum(prod(circuit.nodes[i].shape) for i in masks)
    products = 0
    for i in circuit.of(Dot.name):
        node = circuit.nodes[i]
        shape, operation = circuit.nodes[node.inputs[0]].shape, node.operation
        products += plan.steps * prod(shape[d] for d in (*operation.contract[0], *operation.batch[0]))

    def run(calls):
        for call in calls:
            call()

    lookups = min(plan.sites.layout.num_vars, most + 1)
    first = [lambda: _lookups(lookups)]
    second = [_host, lambda: _products(min(num_bits(max(1, products)), most)), lambda: _opening(row)]
    if masks:
        second.insert(0, lambda: _gates(min(num_bits(gates), most), max(masks.values())))
    with in_background(lambda: run(first), lambda: run(second)) as both:
        for compiled in both:
            compiled.result()


@lru_cache(maxsize=64)
def _lookups(num_vars: int) -> None:
    from ..kernels.lookup import Tree
    from ..kernels.tiles import Tiles, tile_size

    if num_vars == 0:
        return
    size = min(tile_size(num_vars - 1), 1 << num_vars)
    zeros = np.zeros(size, dtype=np.uint64)
    count = (1 << num_vars) // size
    tree = Tree(num_vars, (Tiles([*[None] * (count - 1), (zeros,)]), Tiles([(zeros, zeros)] * count)))
    for variables in range(num_vars):
        _play(tree.rounds([_ANY] * variables, _ANY), variables)


@lru_cache(maxsize=64)
def _gates(num_vars: int, slots: int) -> None:
    from ..kernels.sumcheck import Rounds, gated

    base, wide = _zero_tables(num_vars)
    _play(Rounds(gated, (0, 2, 3), num_vars, (base, [wide] * slots, [base] * slots)), num_vars)


@lru_cache(maxsize=64)
def _products(num_vars: int) -> None:
    from ..kernels.sumcheck import Rounds, product

    _, wide = _zero_tables(num_vars)
    _play(Rounds(product, (0, 2), num_vars, (wide, wide)), num_vars)


@lru_cache(maxsize=1)
def _host() -> None:
    from ..kernels.host import LONG, ROWS, SHORT, dots, multiply

    for length in (SHORT, LONG):
        zeros = np.zeros(length, dtype=np.uint64)
        wide = zeros, zeros
        for narrow in (wide, (zeros,)):
            multiply(wide, narrow)
        multiply(wide, wide, wide)
        for count in (1, ROWS):
            dots(wide, [zeros] * count)


@lru_cache(maxsize=64)
def _opening(row: int) -> None:
    from ..commitment.recursion import Folding
    from ..kernels.opening import weighted_rows

    zeros = np.zeros((1, row), dtype=np.uint64)
    vector = zeros[0], zeros[0]
    weighted_rows((zeros[:, 0], zeros[:, 0]), zeros)
    rounds = Folding(vector, vector)
    for _ in range(num_bits(row)):
        rounds.message()
        rounds.fold(_ANY)


def _zero_tables(num_vars: int):
    """Tables of zeros over F and over K, whose tiles are one object."""
    from ..kernels.tiles import Tiles, tile_size

    size = min(tile_size(num_vars), 1 << num_vars)
    zeros, count = np.zeros(size, dtype=np.uint64), (1 << num_vars) // size
    return Tiles([(zeros,)] * count), Tiles([(zeros, zeros)] * count)


def _play(rounds, num_vars: int) -> None:
    for _ in range(num_vars):
        rounds.message()
        rounds.fold(_ANY)
    rounds.values()
