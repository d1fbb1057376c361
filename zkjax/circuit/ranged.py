"""Which ranges of its first weights a chunk shows, and how: what widths mean, one for each state.

A width w > 0: limbs show of each integer of the state that it is in -2^(w-1) .. 2^(w-1) - 1. A width -w < 0: random forms show the same of
all cells of the blocks that the state has cells in, whose states then all have this width. 0: no range is shown.

PROTOCOL.md, section 10.9.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..algebra.layout import Layout
from ..errors import PrecisionError
from ..ops import forms
from ..ops.ranges import signed_bound
from .parts import PARAMETERS

WIDEST = 62  # bits


class Shown(NamedTuple):
    """Integers of this shape are shown to be in -2^(width-1) .. 2^(width-1) - 1. name: of their lookups; tensor: that holds them."""

    name: tuple
    tensor: tuple
    shape: tuple[int, ...]
    width: int


class Blocks(NamedTuple):
    """Consecutive blocks of a matrix, from first up to end, and the states that have cells in them: one that fills them, or some that
    share one."""

    first: int
    end: int
    states: tuple[int, ...]


class Run(NamedTuple):
    """Consecutive blocks of which forms show one range. name: of the matrix."""

    name: str
    first: int
    count: int
    width: int


def matrices(circuit) -> dict[str, tuple[int, ...]]:
    """The commitments whose cells forms can show in range, by the names that links use, and the states in each."""
    return {name: own for name, own in (("initial", circuit.held[PARAMETERS]), ("frozen", circuit.frozen)) if own}


def blocks(circuit) -> dict[str, tuple[Blocks, ...]]:
    """Of each matrix its blocks in their order."""
    found = {}
    for name in matrices(circuit):
        own: dict[tuple[int, int], dict[int, None]] = {}
        for piece in layout(circuit, name).pieces:  # each at a multiple of its size: what does not fill blocks lies in one
            first, end = piece.offset // forms.BLOCK, -(-(piece.offset + (1 << sum(piece.bits))) // forms.BLOCK)
            own.setdefault((first, end), {})[piece.key] = None
        found[name] = tuple(Blocks(*between, tuple(states)) for between, states in own.items())
    return found


def runs(circuit, widths: Sequence[int]) -> list[Run]:
    """What forms show, as long as can be."""
    found: list[Run] = []
    for name, own in circuit.blocks.items():
        for x in own:
            width, last = -widths[x.states[0]], found[-1] if found else None
            if width <= 0:
                continue
            if last is not None and last.name == name and last.width == width and last.first + last.count == x.first:
                found[-1] = last._replace(count=last.count + x.end - x.first)
            else:
                found.append(Run(name, x.first, x.end - x.first, width))
    return found


def well_formed(circuit, widths: Sequence[int]) -> bool:
    """Whether states that share a block which forms are of have one width, and forms are of cells of the matrices alone."""
    within = {p for own in matrices(circuit).values() for p in own}
    shared = (({widths[p] for p in x.states}) for own in circuit.blocks.values() for x in own)
    return all(len(found) == 1 or min(found) >= 0 for found in shared) and all(w >= 0 or p in within for p, w in enumerate(widths))


def shown(circuit, widths: Sequence[int]) -> list[Shown]:
    """All that is shown: state by state in limbs, then forms of runs of blocks."""
    states = [(p, width) for p, width in enumerate(widths) if width > 0]
    found = [Shown(("initial range", p), start(circuit, p), circuit.parameters[p].shape, width) for p, width in states]
    for name, first, count, width in runs(circuit, widths):
        found.append(Shown(("form range", name, first), ("form", name, first), (count, forms.COUNT), width))
    return found


def layout(circuit, name: str) -> Layout:
    """Of a matrix; tensors are named by their numbers."""
    return Layout({p: circuit.parameters[p].shape for p in matrices(circuit)[name]})


def start(circuit, p: int) -> tuple[str, int]:
    """The tensor that is committed of a state at the chunk's beginning."""
    return ("frozen" if circuit.parameters[p].frozen else "initial"), p


def bounds(widths: Sequence[int]) -> tuple[int, ...]:
    """On the absolute values of what is committed; 0 where none is shown."""
    return tuple(signed_bound(abs(width)) if width else 0 for width in widths)


def wider(circuit, widths: Sequence[int], norm) -> tuple[int, ...]:
    """Widths with which forms show what limbs show with these, of states that fill enough blocks, in wider ranges.

    norm(name, states, blocks): the largest Euclidean norm of one of these blocks of the matrix, in which these states have cells.
    """
    found = list(widths)
    for name, own in circuit.blocks.items():
        for states, held in _together(own):
            if any(widths[p] for p in states) and sum(x.end - x.first for x in held) >= forms.FEWEST:
                width = forms.width(norm(name, states, held), own[-1].end)
                for p in states if width <= WIDEST else ():
                    found[p] = -width
    return tuple(found)


def _together(own: Sequence[Blocks]) -> list[tuple[set[int], list[Blocks]]]:
    """States that have one width where forms are of them, for they share blocks, and those; with all blocks of theirs."""
    of: dict[int, tuple[set[int], list[Blocks]]] = {}
    for x in own:
        before = {id(of[p]): of[p] for p in x.states if p in of}.values()
        group = set(x.states).union(*(states for states, _ in before)), [*(y for _, held in before for y in held), x]
        of.update(dict.fromkeys(group[0], group))
    return list({id(group): group for group in of.values()}.values())


def largest_norm(widths: Sequence[int]):
    """The ``norm`` of ``wider`` that integers in these ranges have at most."""
    return lambda name, states, held: signed_bound(max(widths[p] for p in states)) * math.sqrt(forms.BLOCK)


def hold(circuit, initial: tuple[int, ...], steps: int, first_step: int) -> bool:
    """Whether bounds hold for a chunk whose states start within these."""
    try:
        circuit.bounds(initial, steps, first_step, cure=False)
    except PrecisionError:
        return False
    return True
