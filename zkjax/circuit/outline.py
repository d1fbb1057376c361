"""A circuit as a graph for people: the arrays of its batch, layers and what they hand on, the loss, the backward pass, the optimizer.

Layers are those of ``layers``, told from operations; names are the file's, quoted. In large nets a box stands for all layers whose paths
begin alike, or for several that follow each other.
"""

import math
import textwrap

from ..diagram import LETTERS, Box, Graph
from ..ops.arithmetic import Linear
from ..ops.functions import Range
from ..ops.leaves import Const, InputArray, Param
from ..ops.moves import MOVES, Broadcast
from ..ops.rescale import Rescale
from ..ops.window import Window
from .layers import DATA, LOSS, OPTIMIZER, PARTS, Path, layer, owners
from .summary import counted, kind, quoted

MOST, ARRAYS = 40, 8  # boxes of layers, and of the batch's arrays
PARAMETERS = 3  # of a layer that are named
LINES = 3  # of names of operations
QUIET = (Const, InputArray, Param, Linear, Range, Rescale, *MOVES, Window)  # operations that are not named
WIDENED = (Broadcast, Window)  # results that are told as what they repeat
TOLD = (
    "What a step computes, from its batch down to the loss, and what changes the parameters by it. Layers are told from operations; "
    "names are the author's."
)

Group = tuple[Path, ...]  # layers in one box


def outline(circuit) -> Graph:
    """The graph of a circuit's step. Linear in its size."""
    return _Outline(circuit).graph()


class _Outline:
    """arrays: of each operation the arrays of the batch that it follows from, by the numbers of their boxes. box: of each operation of the
    forward pass its layers, or LOSS; None for others. boxes: the operations of each. read: of each arrow between boxes, from an array's
    number too, the results that it stands for."""

    def __init__(self, circuit):
        self.circuit, self.nodes = circuit, circuit.nodes
        self.own = owners(circuit)
        self.arrays: list[frozenset[int]] = []
        for x in self.nodes:
            own = [min(x.operation.index, ARRAYS - 1)] if isinstance(x.operation, InputArray) else []
            self.arrays.append(frozenset(own).union(*(self.arrays[j] for j in x.inputs)))
        forward = [not x.backward and x.of not in (DATA, OPTIMIZER) for x in self.own]
        order = sorted((i for i, x in enumerate(forward) if x), key=lambda i: (not self.arrays[i], i))  # by what follows from data first
        self.groups = _groups(list(dict.fromkeys(self.own[i].of for i in order if self.own[i].of != LOSS)))
        self.box = [self._name(x.of) if inside else None for x, inside in zip(self.own, forward, strict=True)]
        self.boxes: dict[Group | str, list[int]] = {}
        for i in order:
            self.boxes.setdefault(self.box[i], []).append(i)
        self.read: dict[tuple, list[int]] = {}
        for i in order:
            for j in self.nodes[i].inputs:
                for source in [self.box[j]] if self.box[j] is not None else self.arrays[j]:
                    if source != self.box[i]:
                        self.read.setdefault((source, self.box[i]), []).append(j)

    def _name(self, owner: Path | str) -> Group | str:
        return owner if owner == LOSS else self.groups[owner]

    def graph(self) -> Graph:
        """Boxes from the batch down, and arrows."""
        changed = sum(moves and not x.given for x, moves in zip(self.circuit.parameters, self.circuit.updated(), strict=True))
        backward = [i for i, x in enumerate(self.own) if x.backward]
        optimizer = [i for i, x in enumerate(self.own) if x.of == OPTIMIZER and not x.backward]
        inputs, more = self.circuit.inputs, len(self.circuit.inputs) - ARRAYS
        boxes = {k: Box(quoted(x.name), (f"batch of {_shape(x.shape)}",)) for k, x in enumerate(inputs[:ARRAYS])}
        if more > 0:
            boxes[ARRAYS - 1] = Box(f"{quoted(inputs[ARRAYS - 1].name)} and {counted(more, 'other array')}")
        boxes |= {name: self._box(name, nodes) for name, nodes in self.boxes.items() if name != LOSS}
        arrows, last = [*self.read], [*boxes][-1]
        if LOSS in self.boxes:
            called = LOSS if "loss" in self.circuit.outputs else "outputs"
            boxes[LOSS], last = Box(called, tuple(self._kinds(self.boxes[LOSS]))), LOSS
        if backward and changed:
            lines = f"gradients: {counted(len(backward), 'operation')}", *self._kinds(backward)
            boxes["backward"], last, before = Box("backward pass", lines), "backward", last
            arrows.append((before, last))
        if changed:
            kept = [f"keeps {counted(len(self.circuit.given), 'other tensor')}"] if self.circuit.given else []
            boxes[OPTIMIZER] = Box(OPTIMIZER, (f"changes {counted(changed, 'parameter tensor')}", *kept, *self._kinds(optimizer)))
            arrows.append((last, OPTIMIZER))
        place = {name: i for i, name in enumerate(boxes)}
        return Graph("The circuit's graph", TOLD, tuple(boxes.values()), tuple((place[a], place[b]) for a, b in arrows))

    def _box(self, group: Group, nodes: list[int]) -> Box:
        within = (p for p, x in enumerate(self.circuit.parameters) if x.given is None and self.groups.get(layer(x.path)) == group)
        own = [self.circuit.parameters[p] for p in within]
        lines = [f"{quoted(x.path.rpartition('/')[2])} {_shape(x.shape)}{', frozen' * x.frozen}" for x in own]
        if len(lines) > PARAMETERS:
            lines = [f"{counted(sum(math.prod(x.shape) for x in own), 'parameter')} in {counted(len(own), 'tensor')}"]
        handed = [self._below(j) for (source, _), results in self.read.items() if source == group for j in results]
        gives = [f"gives {_shape(max((self.nodes[j].shape for j in handed), key=math.prod))}"] if handed else []
        return Box(_called(group), (*lines, *self._kinds(nodes), *gives))

    def _below(self, i: int) -> int:
        """The tensor whose entries node i repeats."""
        while isinstance(self.nodes[i].operation, WIDENED):
            i = self.nodes[i].inputs[0]
        return i

    def _kinds(self, nodes: list[int]) -> list[str]:
        """Lines that name their operations, but for quiet ones."""
        told = (kind(self.nodes[i]) for i in nodes if not isinstance(self.nodes[i].operation, QUIET))
        found = dict.fromkeys(name.removeprefix("function of ") for name in told)
        return textwrap.wrap(f"by {', '.join(found)}", LETTERS, max_lines=LINES, placeholder=" ..") if found else []


def _groups(paths: list[Path]) -> dict[Path, Group]:
    """Of each layer those that are in one box: at most MOST boxes. paths: of layers, in the order of the net."""
    for parts in reversed(range(1, PARTS + 1)):
        found: dict[Path, list[Path]] = {}
        for path in paths:
            found.setdefault(path[:parts], []).append(path)
        if len(found) <= MOST:
            break
    groups = [*found.values()]
    together = -(-len(groups) // MOST)
    whole = [tuple(path for group in groups[i : i + together] for path in group) for i in range(0, len(groups), max(1, together))]
    return {path: group for group in whole for path in group}


def _called(group: Group) -> str:
    """A box's name: of one layer, of what several have in common, or of the first and the last one."""
    first, last = group[0], group[-1]
    same = 0
    while all(len(path) > same and path[same] == first[same] for path in group):
        same += 1
    if len(group) == 1:
        return quoted("/".join(first)) if first else "what joins several layers"
    if same:
        return f"{quoted('/'.join(first[:same]))}, {len(group)} layers"
    return f"{quoted('/'.join(first))} .. {quoted('/'.join(last))}, {len(group)} layers"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
