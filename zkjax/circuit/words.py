"""A circuit in sentences: its loss, what a step makes of each parameter and each state, formats and periods. All that they say is derived
from operations and tables that the digest covers, but for units of results where only the author's scales say them.

PROTOCOL.md, section 5.
"""

import math

from ..ops.arithmetic import Linear
from ..ops.leaves import Const
from ..ops.moves import MOVES
from ..ops.rescale import Rescale
from .changes import named
from .layers import LOSS, owners
from .summary import SHOWN, counted, kind, quoted, rates, some
from .units import units

MOST = 24  # sentences on parameters
NEAR = 2.0**-10  # of a factor that differs from 1 by less is told what it lacks


def loss(circuit) -> str:
    """What each output sums, and by which operations it follows from the last layer's result."""
    found, unit = [], units(circuit)
    for name in circuit.outputs:
        summed = [(float(x.factor) / unit[x.node], x.node) for x in circuit.losses if x.output == name]
        found.append(f"Output {quoted(name)} is {added([(f'{factor:.6g} * ', f'#{i}') for factor, i in summed[:SHOWN]])}")
        found[-1] += f" + {len(summed) - SHOWN:,} more." if len(summed) > SHOWN else "."
    own = zip(circuit.nodes, owners(circuit), strict=True)
    kinds = dict.fromkeys(kind(x) for x, owner in own if owner.of == LOSS and not isinstance(x.operation, (Const, Linear, Rescale, *MOVES)))
    return " ".join([*found, *([f"It follows from the last layer's result by {', '.join(kinds)}."] if kinds else [])])


def optimizer(circuit) -> str:
    """What a step makes of parameters and states, those that it treats alike in one line."""
    groups: dict[str, list[str]] = {}
    for parameter, terms in zip(circuit.parameters, named(circuit), strict=True):
        words = added([(factor(v, near=name == "itself"), name) for name, v in terms.items()])
        moved = "frozen" if not terms else f"becomes {words}" if parameter.recurrence else f"changes by {words}"
        groups.setdefault(moved, []).append(quoted(parameter.path))
    lines = [f"  {some(names)}: {words}" for words, names in groups.items()]
    more = [f"  and {len(lines) - MOST} other kinds of change"] if len(lines) > MOST else []
    return "\n".join(["In each step, of each of these,", *lines[:MOST], *more])


def factor(values: tuple[float, ...], near: bool = False) -> str:
    """As a multiplier: one, or a schedule. near: of one close to 1 what it lacks is told."""
    lacks = tuple(1 - v for v in values)
    return f"(1 - {rates(lacks)}) * " if near and 0 < max(map(abs, lacks)) < NEAR else f"{rates(values)} * "


def added(terms: list[tuple[str, str]]) -> str:
    """A sum of (factor, what it multiplies)."""
    return " + ".join(f"{times}{name}" for times, name in terms).replace(" + -", " - ") or "0"


def formats(circuit) -> str:
    """Units and ranges: of data, of tensors that are rounded, pass by pass, and of parameters, and when states are rounded."""
    data = [f"{quoted(x.name)} in units of 2^{-x.scale} up to 2^{x.bits - x.scale}" for x in circuit.inputs]
    found: dict[str, list[tuple[int, int]]] = {}
    own, unit = owners(circuit), units(circuit)
    for i in circuit.rounded:
        where = f"the {own[i].of}" if isinstance(own[i].of, str) else "the backward pass" if own[i].backward else "the forward pass"
        least = round(math.log2(unit[i])) if unit[i] > 0 else -circuit.nodes[i].scale
        found.setdefault(where, []).append((least, least + max(map(abs, circuit.nodes[i].operation.limits())).bit_length() - 1))
    rounded = [
        f"{counted(len(x), 'tensor')} of {where} to {_span(low for low, _ in x)} up to {_span(high for _, high in x)}"
        for where, x in found.items()
    ]
    units_of_states = _span(-circuit.scale(p)[1] for p in range(len(circuit.parameters)))
    period = "in each step" if circuit.period == 1 else f"every {circuit.period} steps"
    states = f"{counted(len(circuit.recurrent), 'state')} rounded to them {period}" if circuit.recurrent else "which no step rounds"
    return (
        f"Data: {some(data)}. Rounded in a step: {', '.join(rounded) or 'nothing'}. "
        f"Parameters and states: units of {units_of_states}, {states}."
    )


def _span(exponents) -> str:
    found = sorted({*exponents})
    return f"2^{found[0]}" if len(found) == 1 else f"2^{found[0]}..2^{found[-1]}"
