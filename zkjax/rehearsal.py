"""Compiling ahead: the argument's kernels run on zeros, in threads beside the commitments.

Kernels work on tiles of fixed shapes, so a sumcheck of a few tiles meets the shapes of one of thousands. A first proof would
else spend most of its time waiting for the compiler, kernel by kernel. Nothing here touches a secret or a message.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import prod

import jax
import numpy as np

from .extension import Ext
from .plan import Plan
from .poly import num_bits

_ANY = Ext(1, 1)


def rehearse(plan: Plan) -> None:
    """Compile what proving this plan's argument takes, unless this process has done so."""
    from .kernels.tiles import LOG_TILE

    circuit, most = plan.circuit, LOG_TILE + 4  # variables; from here on all shapes have occurred
    lookups = min(plan.sites.layout.num_vars, most)
    masks = Counter(circuit.nodes[i].inputs[0] for i in circuit.of("gate"))
    gates = min(num_bits(plan.steps * sum(prod(circuit.nodes[i].shape) for i in masks)), most)

    def scoped(work, *arguments):
        with jax.enable_x64(True):  # the scope belongs to a thread
            work(*arguments)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(scoped, _lookups, lookups)]
        if masks:
            calls.append(pool.submit(scoped, _gates, gates, max(masks.values())))
        for call in calls:
            call.result()


@cache
def _lookups(num_vars: int) -> None:
    from .kernels.lookup import Tree
    from .kernels.tiles import Tiles, tile_size

    if num_vars == 0:
        return
    size = min(tile_size(num_vars - 1), 1 << num_vars)
    zeros = np.zeros(size, dtype=np.uint64)
    count = (1 << num_vars) // size
    tree = Tree(num_vars, (Tiles([*[None] * (count - 1), (zeros,)]), Tiles([(zeros, zeros)] * count)))
    for variables in range(num_vars):
        _play(tree.rounds([_ANY] * variables, _ANY), variables)


@cache
def _gates(num_vars: int, slots: int) -> None:
    from .kernels.sumcheck import Rounds, gated
    from .kernels.tiles import Tiles, tile_size

    size = min(tile_size(num_vars), 1 << num_vars)
    zeros, count = np.zeros(size, dtype=np.uint64), (1 << num_vars) // size
    base, wide = Tiles([(zeros,)] * count), Tiles([(zeros, zeros)] * count)
    _play(Rounds(gated, (0, 2, 3), num_vars, (base, [wide] * slots, [base] * slots)), num_vars)


def _play(rounds, num_vars: int) -> None:
    for _ in range(num_vars):
        rounds.message()
        rounds.fold(_ANY)
    rounds.values()
