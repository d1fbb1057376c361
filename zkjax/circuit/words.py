"""A circuit in sentences: its loss, what a step makes of each parameter and each state, formats and periods. All that they say is derived
from operations and tables that the digest covers, but for units of results where only the author's scales say them.

PROTOCOL.md, section 5.
"""

import math

from ..ops.arithmetic import Linear
from ..ops.leaves import Const
from ..ops.moves import MOVES
from ..ops.rescale import Rescale
from .changes import Term, named
from .layers import LOSS, owners
from .summary import SHOWN, counted, kind, quoted, rates, some
from .units import units

MOST = 24  # sentences on parameters
NEAR = 2.0**-10  # of a factor that differs from 1 by less is told what it lacks


def step(circuit, found: list[list[Term]]) -> str:
    """Its loss, its formats, and what it changes, line by line. found: by ``changes``."""
    return "\n".join([*([loss(circuit)] if circuit.losses else []), formats(circuit), optimizer(circuit, found)])


def loss(circuit) -> str:
    """What each output sums, and by which operations it follows from the last layer's result."""
    found = []
    for name, summed in [*summands(circuit).items()][:SHOWN]:
        more = f" + {len(summed) - SHOWN:,} more" if len(summed) > SHOWN else ""
        found.append(f"Output {quoted(name)} is {added([(f'{times:.6g} * ', f'#{i}') for times, i in summed[:SHOWN]])}{more}.")
    own, quiet = zip(circuit.nodes, owners(circuit), strict=True), (Const, Linear, Rescale, *MOVES)
    kinds = dict.fromkeys(kind(x) for x, owner in own if owner.of == LOSS and not isinstance(x.operation, quiet))
    return " ".join([*found, *([f"It follows from the last layer's result by {', '.join(kinds)}."] if kinds else [])])


def summands(circuit) -> dict[str, list[tuple[float, int]]]:
    """Of each output the factors and the nodes that it sums."""
    unit, found = units(circuit), {}
    for x in circuit.losses:
        found.setdefault(x.output, []).append((float(x.factor) / unit[x.node], x.node))
    return found


def optimizer(circuit, found: list[list[Term]]) -> str:
    """What a step makes of parameters and states, those that it treats alike in one line. found: by ``changes``."""
    groups: dict[str, list[str]] = {}
    for parameter, terms in zip(circuit.parameters, named(circuit, found), strict=True):
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


def start(circuit, parameter) -> str:
    """What a state is where a chain begins, in its integers, if the circuit says so; else ""."""
    given = parameter.given
    if given is None:
        return ""
    copied = "" if given.copied is None else f"2^{given.shift} * {quoted(circuit.parameters[given.copied].path)}"
    return " + ".join(x for x in (copied, str(given.integer) if given.integer or not copied else "") if x)


def formats(circuit) -> str:
    """Units and ranges: of data, of tensors that are rounded, pass by pass, and of parameters, and when states are rounded."""
    data = [f"{quoted(x.name)} in units of 2^{-x.scale} up to 2^{x.bits - x.scale}" for x in circuit.inputs]
    found: dict[str, list[tuple[int, int]]] = {}
    own, unit = owners(circuit), units(circuit)
    for i in circuit.rounded:
        where = f"the {own[i].of}" if isinstance(own[i].of, str) else "the backward pass" if own[i].backward else "the forward pass"
        found.setdefault(where, []).append(reach(circuit.nodes[i], unit[i]))
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


def reach(node, unit: float) -> tuple[int, int]:
    """Of a rounded tensor: its unit and its largest value, as exponents of 2. unit: of its integers, NaN for none."""
    least = round(math.log2(unit)) if unit > 0 else -node.scale
    return least, least + max(map(abs, node.operation.limits())).bit_length() - 1


def _span(exponents) -> str:
    found = sorted({*exponents})
    return f"2^{found[0]}" if len(found) == 1 else f"2^{found[0]}..2^{found[-1]}"
