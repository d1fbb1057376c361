"""The value of an integer 1 of each operation, for people: from the units of parameters and data, by what operations do to them.

An author's scales drop what is no power of two, and a liar's say anything. Here they are read only of what no operation says: constants,
results of functions, numbers of the step.

PROTOCOL.md, section 5.
"""

import math

from ..ops.leaves import InputArray, Next, Param


def units(circuit) -> list[float]:
    """Of each node; NaN where floating point has none."""
    found: list[float] = []
    for node in circuit.nodes:
        operation, inputs = node.operation, node.inputs
        try:
            if isinstance(operation, Param | Next):
                unit = circuit.inside(operation.index)
            elif isinstance(operation, InputArray):
                unit = 2.0 ** -circuit.inputs[operation.index].scale
            else:
                unit = operation.worth([found[j] for j in inputs], node.scale, [circuit.nodes[j].scale for j in inputs])
        except (OverflowError, ZeroDivisionError, ValueError):
            unit = math.nan
        found.append(unit if 0 < unit < math.inf else math.nan)
    return found
