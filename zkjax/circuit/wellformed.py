"""What a circuit is to be before anything follows from it: operations that fit their operands, shapes, states, levels, anchors.

PROTOCOL.md, section 5.
"""

from ..errors import FormatError, UnsupportedOperationError
from ..ops.operation import require, result_shape
from . import anchors

MAX_AXES = 2**24  # entries of all axes of all tensors: a verifier has vectors along them
MAX_PARAMETERS = 2**13
MAX_FEEDS = 8  # operations that feed a state with a recurrence


def check(circuit) -> None:
    """Operations, shapes, levels and anchors. FormatError for a malformed graph; UnsupportedOperationError where a claim could go up, or a
    verifier would need too much memory."""
    for i in range(len(circuit.nodes)):
        _check_node(circuit, i)
    if not circuit.inputs or not circuit.parameters:
        raise FormatError("a circuit needs an input and a parameter")
    if len(circuit.parameters) > MAX_PARAMETERS:
        raise UnsupportedOperationError(f"{len(circuit.parameters)} parameters, more than {MAX_PARAMETERS}")
    for x in circuit.inputs:
        if x.shape[:1] != circuit.inputs[0].shape[:1] or not x.shape:
            raise FormatError(f"input {x.name} of shape {x.shape}: the first axis of every input is the batch")
        if x.bits + 1 > circuit.table_bits:
            raise FormatError(f"input {x.name}: {x.bits + 1} bits do not fit a table of {circuit.table_bits}")
    for p in range(len(circuit.parameters)):
        _check_parameter(circuit, p)
    if circuit.period != 1 and not circuit.recurrent:
        raise FormatError(f"a period of {circuit.period} steps, and no state is rounded in it")
    for loss in circuit.losses:
        if circuit.nodes[loss.node].shape != ():
            raise FormatError(f"a loss is not a scalar: {circuit.describe(loss.node)}")
    if sum(sum(x.shape) for x in (*circuit.nodes, *circuit.inputs, *circuit.parameters)) > MAX_AXES:
        raise UnsupportedOperationError(f"the axes of all tensors have more than {MAX_AXES} entries together")
    circuit.levels  # noqa: B018
    anchors.check(circuit)


def _check_parameter(circuit, p: int) -> None:
    parameter = circuit.parameters[p]
    found, given = parameter.recurrence, parameter.given
    tables = [("update", u.node, u.rates) for u in parameter.updates]
    if found is not None:
        tables += [("feed", i, c) for i, c in found.feeds] + [("carry", None, c) for _, c in found.carry]
        if parameter.updates:
            raise FormatError(f"{parameter.path} has updates and a recurrence")
        for r, _ in found.carry:
            other = circuit.parameters[r]
            if other.recurrence is None or other.shape != parameter.shape:
                raise FormatError(f"{parameter.path} carries {other.path}, which is another shape or has no recurrence")
        if len(found.feeds) > MAX_FEEDS:
            raise UnsupportedOperationError(f"{parameter.path} is fed by {len(found.feeds)} operations, more than {MAX_FEEDS}")
        if len({r for r, _ in found.carry}) != len(found.carry):
            raise FormatError(f"{parameter.path} carries a state twice")
    for name, node, values in tables:
        if node is not None and circuit.nodes[node].shape != parameter.shape:
            raise FormatError(f"the {name} of {parameter.path} of shape {parameter.shape} reads {circuit.describe(node)}")
        if len(values) != 1 and len(values) != circuit.max_steps:
            raise FormatError(f"the {name} of {parameter.path} has {len(values)} rates; expected 1 or {circuit.max_steps}")
    if given is not None and given.copied is not None:
        other = circuit.parameters[given.copied]
        if other.given is not None or other.shape != parameter.shape:
            raise FormatError(f"{parameter.path} begins as a copy of {other.path}, which is another shape or no parameter")


def _check_node(circuit, i: int) -> None:
    node = circuit.nodes[i]
    try:
        shape = result_shape(node.operation, circuit.shapes(i), circuit.leaves())
        require(shape == node.shape, "shape")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"{circuit.describe(i)}: {error}") from None
    node.operation.check(i, circuit)
