"""Which ranges of its first weights a chunk shows, and how: what widths mean, one for each state.

A width w > 0: limbs show of each integer of the state that it is in -2^(w-1) .. 2^(w-1) - 1. A width -w < 0: random forms show the same of
all cells of the matrix that the state is committed in, whose states then all have this width. 0: no range is shown.

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


def matrices(circuit) -> dict[str, tuple[int, ...]]:
    """The commitments whose cells forms can show in range, by the names that links use, and the states in each."""
    return {name: own for name, own in (("initial", circuit.held[PARAMETERS]), ("frozen", circuit.frozen)) if own}


def by_forms(circuit, widths: Sequence[int]) -> dict[str, int]:
    """The matrices whose ranges forms show, and how many bits of a signed range."""
    least = {name: min(widths[p] for p in own) for name, own in matrices(circuit).items()}
    return {name: -width for name, width in least.items() if width < 0}


def well_formed(circuit, widths: Sequence[int]) -> bool:
    """Whether forms are of whole matrices."""
    found, of = by_forms(circuit, widths), {p: name for name, own in matrices(circuit).items() for p in own}
    return all(width == -found[of[p]] if of.get(p) in found else width >= 0 for p, width in enumerate(widths))


def shown(circuit, widths: Sequence[int]) -> list[Shown]:
    """All that is shown: state by state in limbs, then forms of matrices."""
    states = [(p, width) for p, width in enumerate(widths) if width > 0]
    found = [Shown(("initial range", p), start(circuit, p), circuit.parameters[p].shape, width) for p, width in states]
    for name, width in by_forms(circuit, widths).items():
        found.append(Shown(("form range", name), ("form", name), forms.shape(layout(circuit, name).size), width))
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
    """Widths with which forms show what limbs show with these, of matrices that are large enough, in wider ranges.

    norm(name, states): the largest Euclidean norm of a block of the matrix.
    """
    found = list(widths)
    for name, own in matrices(circuit).items():
        size = layout(circuit, name).size
        if any(widths[p] for p in own) and size >= forms.FEWEST * forms.BLOCK:
            width = forms.width(norm(name, own), size)
            for p in own if width <= WIDEST else ():
                found[p] = -width
    return tuple(found)


def largest_norm(widths: Sequence[int]):
    """The ``norm`` of ``wider`` that integers in these ranges have at most."""
    return lambda name, own: signed_bound(max(widths[p] for p in own)) * math.sqrt(forms.BLOCK)


def hold(circuit, initial: tuple[int, ...], steps: int, first_step: int) -> bool:
    """Whether bounds hold for a chunk whose states start within these."""
    try:
        circuit.bounds(initial, steps, first_step, cure=False)
    except PrecisionError:
        return False
    return True
