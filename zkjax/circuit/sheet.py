"""A circuit's printed form: what the digest covers, what it costs, how long a chain can be, and, set apart, its author's notes."""

import math
import textwrap

from ..display import Sheet, Table
from ..ops.division import Divide
from ..ops.functions import TableFunction
from ..ops.leaves import InputArray, Next, Param
from ..ops.rescale import Sign
from ..ops.root import Root
from . import bounds, coarse, shares
from .changes import AFTER, GRADIENT, NODE, SQUARE, STATE, Term, changes
from .counts import Size, Sizes, of_parts
from .parts import Parameter
from .summary import net, quoted, rates
from .words import added, factor, start, step

WIDTH = 140  # characters of a line of words
MAX_NODES = 2**13  # operations of a circuit whose longest chain is printed: it takes some dozens of looks at all of them
# What a circuit's sheet says of its own words.
WORDS = (
    "What is called the gradient of the loss is found to be it from operations alone: they are evaluated in floating point, without\n"
    "rounding, on random values. Other factors are in the units that operations make of those of data and parameters. These, scales,\n"
    "names and labels are the author's words, under the digest like the operations."
)
# What it says of its table of layers.
LAYERS = (
    "A layer is named after the path of its parameters. What stands between two layers counts for the one before; the optimizer\n"
    "begins where a gradient is rounded or read. Columns: numbers looked up, one for each column of a table. Levels: of products,\n"
    "one above another."
)
STEPS = "Steps: for how many at least the bounds of its own tensors hold, which longer sums and more bits make fewer."
UNTOLD = "No output of this step is a loss: forward and backward pass and the optimizer are not told apart."
MAX_LOOKED_AT = 2**8  # operations of an update, to say from which states it follows
# By what an optimizer's update may follow from its states.
BY = {Divide.name: "a quotient", Root.name: "a root", Sign.name: "a sign", TableFunction.name: "a function"}
NOTES = "notes, which are outside the digest: anyone can have written them"


def _wrapped(line: str) -> str:
    """A long line as several, cut at blanks, all but the first set in by two more."""
    margin = line[: len(line) - len(line.lstrip(" "))]
    kept = {"break_long_words": False, "break_on_hyphens": False, "expand_tabs": False, "replace_whitespace": False}
    return "\n".join(textwrap.wrap(line, WIDTH, subsequent_indent=f"{margin}  ", **kept)) or line


def sheet(circuit) -> Sheet:
    """What the digest covers, what it costs (sizes are per step), and, set apart, the notes."""
    counts, sizes = circuit.counts(1), of_parts(circuit)
    states = (
        f"; {sizes.states.cells:,} cells and {sizes.states.lookups:,} lookups more where states are rounded" if circuit.recurrent else ""
    )
    each = sum((*sizes.nodes, *sizes.inputs), Size())
    (length, limited), terms = _length(circuit), changes(circuit)
    notes = Table(tuple((str(i), note) for i, note in enumerate(circuit.notes, 1)), ("", NOTES), left=(1,), title=NOTES)
    return Sheet(
        f"Circuit {circuit.digest().hex()[:16]}: {len(circuit.nodes)} operations, batch {circuit.batch_size}, "
        f"tables of up to {circuit.table_bits} bits",
        (
            "\n".join(map(_wrapped, f"{net(circuit)}\n{step(circuit, terms)}".split("\n"))),
            f"per step: {each.cells:,} committed cells, {each.lookups:,} lookups{states}; "
            f"{counts.table_entries:,} table entries per proof; {counts.parameters:,} parameters; "
            f"{circuit.levels.depth} levels of products",
            length,
            shares.table(circuit, bounds.lasting(circuit) if limited else None),
            "\n".join([LAYERS, *([STEPS] if limited else []), *([] if circuit.losses else [UNTOLD])]),
            _operations(circuit, sizes),
            _parameters(circuit, terms),
            WORDS,
            *([notes] if circuit.notes else []),
            *(() if circuit.comparison is None else circuit.comparison.parts()),
        ),
    )


def _operations(circuit, sizes: Sizes) -> Table:
    largest, rows = circuit.node_bounds(), []
    for i, node in enumerate(circuit.nodes):
        cells, lookups, _ = sizes.inputs[node.operation.index] if isinstance(node.operation, InputArray) else sizes.nodes[i]
        reach = "" if largest[i] is None else f"2^{math.log2(largest[i]):.4g}" if largest[i] else "0"
        name = node.operation.describe()
        reads, shape = " ".join(map(str, node.inputs)), "x".join(map(str, node.shape)) or "scalar"
        rows.append((str(i), name, reads, shape, str(node.scale), reach, f"{cells:,}", f"{lookups:,}", node.label))
    heading = ("#", "operation", "reads", "shape", "scale", "range", "cells", "lookups", "called by its author")
    return Table(tuple(rows), heading, left=(1, 2, 3, 8), title="operations")


def _parameters(circuit, found: list[list[Term]]) -> Table:
    moved, rows = _states(circuit), []
    for p, (parameter, terms) in enumerate(zip(circuit.parameters, found, strict=True)):
        shape, scale = "x".join(map(str, parameter.shape)) or "scalar", str(circuit.scale(p)[1])
        first = start(circuit, parameter)
        change = _changed(circuit, moved, parameter, terms) + (f"; at first {first}" if first else "")
        rows.append((shape, f"{math.prod(parameter.shape):,}", scale, change, parameter.path))
    return Table(tuple(rows), ("shape", "entries", "scale", "each step", "parameter"), left=(0, 3, 4), title="parameters")


def _changed(circuit, moved: list[bool], parameter: Parameter, terms: list[Term]) -> str:
    """What a step makes of a parameter or a state."""
    if not terms:
        return "becomes 0" if parameter.recurrence is not None else "nothing: frozen"
    if parameter.recurrence is not None:
        rounded = "each step" if circuit.period == 1 else f"every {circuit.period} steps"
        summed = added([(factor(x.factors, near=x.kind == STATE), _named(circuit, x)) for x in terms])
        return f"becomes {summed}, rounded {rounded} within 2^{parameter.recurrence.bits}"
    if terms[0].kind == GRADIENT:
        return f"minus {rates(tuple(-v for v in terms[0].factors))} times the gradient of the loss"
    uses = (f"{factor(tuple(-v for v in x.factors))}#{u.node}" for u, x in zip(parameter.updates, terms, strict=True))
    states = [circuit.parameters[x.index].path for x in terms if x.kind == AFTER]
    why = "too large to be evaluated here" if circuit.learning_rates is None else "NO MULTIPLE OF THE LOSS'S GRADIENT"
    why = f"what {', '.join(map(quoted, states))} is after the step" if states else _followed(circuit, moved, parameter) or why
    return f"minus {', '.join(uses)}: {why}"


def _named(circuit, term: Term) -> str:
    """What a factor multiplies."""
    if term.kind == NODE:
        return f"#{term.index}"
    path = quoted(circuit.parameters[term.index].path)
    if term.kind in (GRADIENT, SQUARE):
        return f"{'the square of ' * (term.kind == SQUARE)}the gradient of the loss by {path}"
    return f"{path} after the step" if term.kind == AFTER else path


def _states(circuit) -> list[bool]:
    """Of each operation whether it follows from a state that a step multiplies."""
    found: list[bool] = []
    for node in circuit.nodes:
        own = isinstance(node.operation, Param | Next) and circuit.parameters[node.operation.index].recurrence is not None
        found.append(own or any(found[j] for j in node.inputs))
    return found


def _followed(circuit, moved: list[bool], parameter: Parameter) -> str:
    """From which states an update follows, and by what besides sums and products; empty where from none, or from too many operations.

    moved: as ``_states`` finds them.
    """
    found, kinds = set(), set()
    stack, seen = [u.node for u in parameter.updates], set()
    while stack and len(seen) < MAX_LOOKED_AT:
        i = stack.pop()
        if i in seen or not moved[i]:
            continue
        seen.add(i)
        node = circuit.nodes[i]
        if not isinstance(node.operation, Param | Next):
            kinds.add(node.operation.name)
            stack += node.inputs
        elif circuit.parameters[node.operation.index].recurrence is not None:
            found.add(node.operation.index)
    if stack or not found:
        return ""
    by = " and ".join(BY[name] for name in BY if name in kinds)
    return f"follows from {', '.join(quoted(circuit.parameters[s].path) for s in sorted(found))}{by and f' by {by}'}"


def _length(circuit) -> tuple[str, bool]:
    """How long a chain can be, or for how long its bounds hold and what a chunk pays that renews them; whether they end at all."""
    if len(circuit.nodes) > MAX_NODES:
        return "how long bounds hold is not worked out for so many operations; circuit.longest_chain() does it", False
    steps, limit, cure, ends = circuit.longest_chain()
    if steps is None:
        return "bounds hold for any number of steps", False
    if ends:
        return f"a chain can have {steps:,} steps at most: {limit}; for more, {cure}", False
    widths, _ = coarse.renewal(circuit, 1, 0)
    (cells, lookups), by = circuit.range_check(widths), "by random forms, " if min(widths) < 0 else ""
    return (
        f"bounds hold for {steps:,} steps at most: {limit}; a chunk beyond them range-checks its first weights, {by}with {cells:,} cells "
        f"and {lookups:,} lookups if these are below 1; for more steps without that, {cure}"
    ), True
