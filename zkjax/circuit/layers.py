"""Whose a circuit's costs are: its layers' in the forward and the backward pass, the loss's, the optimizer's.

A layer is where parameters are, by their path less its last part: "0/w" and "0/b" are in "0". All else is told from operations, never
from labels:

    forward    what the loss follows from. It is of the layer whose parameters it reads, or else whose result: what stands between two
               layers, a ReLU or a mean, is of the one before. What reads several is of the last, or of what their paths have in common.
    loss       of that, what follows from the last layer's result, but for its rounding.
    backward   what else leads to a product of data and a tensor of the forward pass, as a gradient does. It is of the layer whose
               parameters or tensors are multiplied.
    data       what follows from no parameter.
    optimizer  the rest, as far as the states after the step: also the rounding of a gradient, which plain descent does without.

So every operation has one owner. Linear in the size of the circuit.

PROTOCOL.md, section 5.
"""

from typing import NamedTuple

from ..ops.arithmetic import Linear
from ..ops.functions import OneHot, Range, TableFunction
from ..ops.leaves import InputArray, Param
from ..ops.moves import Broadcast, Pad, Reshape, Reverse, Slice, Transpose
from ..ops.products import Dot, Gate
from ..ops.rescale import Rescale, Sign
from ..ops.window import Window

LOSS, DATA, OPTIMIZER = "loss", "data", "optimizer"
PARTS = 16  # of a path that are told apart
SAME = (Transpose, Reshape, Broadcast, Slice, Pad, Reverse, Window, Linear, Range, Rescale)  # read from one tensor, its entries still
MADE = (*SAME, Sign, TableFunction, OneHot)  # what a backward pass makes of a forward tensor, before it multiplies by it

Path = tuple[str, ...]  # of a layer; () for several that have nothing in common


class Owner(NamedTuple):
    """Whose an operation is: a layer's path, or LOSS, DATA or OPTIMIZER. backward: whether in the backward pass."""

    of: Path | str
    backward: bool = False


def owners(circuit) -> list[Owner]:
    """Of each operation. Where no output of the step is a loss, all is told as forward, and nothing as the optimizer's."""
    return _Owners(circuit).found


def layer(path: str) -> Path:
    """The layer in which the parameter of this path is."""
    return tuple((path.rpartition("/")[0] or path).split("/", PARTS - 1))


class _Place(NamedTuple):
    """Where a tensor stands: how many times the owner has changed below it, and its owner."""

    depth: int
    of: Path | str


class _Owners:
    """moving, trained: whether a node follows from data, from parameters. forward, backward: whether it is of that pass. reads: whether
    it brings parameters to what moves. inner: whether the backward pass reads it. loss: whether it is the loss's."""

    def __init__(self, circuit):
        self.circuit, self.nodes = circuit, circuit.nodes
        self.moving, self.trained = self._following(InputArray), self._following(Param)
        self.reads = [moves and any(self._fixed(j) for j in x.inputs) for x, moves in zip(self.nodes, self.moving, strict=True)]
        ends = [x.node for x in circuit.losses if x.output == "loss"] or [x.node for x in circuit.losses]
        self.forward = self._below({*ends}) if ends else [True] * len(self.nodes)
        self.backward, self.inner = self._backward()
        self.loss = self._loss() if ends else [False] * len(self.nodes)
        self.places: list[_Place | None] = []
        for i in range(len(self.nodes)):
            self.places.append(self._place(i))
        self.found = [self._owner(i) for i in range(len(self.nodes))]

    def _following(self, leaf) -> list[bool]:
        found: list[bool] = []
        for node in self.nodes:
            found.append(isinstance(node.operation, leaf) or any(found[j] for j in node.inputs))
        return found

    def _below(self, ends: set[int]) -> list[bool]:
        found = [i in ends for i in range(len(self.nodes))]
        for i in reversed(range(len(self.nodes))):
            for j in self.nodes[i].inputs if found[i] else ():
                found[j] = True
        return found

    def _fixed(self, i: int) -> bool:
        """Whether a node is made of parameters alone."""
        return self.trained[i] and not self.moving[i]

    def _one(self, i: int, kinds: tuple) -> int | None:
        """What node i reads, where it is of these kinds and reads one tensor besides constants."""
        read = [j for j in self.nodes[i].inputs if self.moving[j] or self.trained[j]]
        return read[0] if len(read) == 1 and isinstance(self.nodes[i].operation, kinds) else None

    def _backward(self) -> tuple[list[bool], list[bool]]:
        made: list[bool] = []  # a tensor of the forward pass, or made of one
        for i in range(len(self.nodes)):
            one = self._one(i, MADE)
            made.append((self.moving[i] or self.trained[i]) if self.forward[i] else one is not None and made[one])
        found, inner = [False] * len(self.nodes), [False] * len(self.nodes)
        for i in reversed(range(len(self.nodes))):
            node, read = self.nodes[i], {*self.nodes[i].inputs}
            multiplies = (
                isinstance(node.operation, Dot | Gate) and len(read) == 2 and any(made[j] for j in read)
            )  # no square: a norm has them
            found[i] = not self.forward[i] and (inner[i] or multiplies and self.moving[i])
            for j in read if found[i] else ():
                inner[j] = True
        return found, inner

    def _loss(self) -> list[bool]:
        later = [False] * len(self.nodes)  # whether a layer above reads it
        for i in reversed(range(len(self.nodes))):
            for j in self.nodes[i].inputs if self.forward[i] and (self.reads[i] or later[i]) else ():
                later[j] = True
        result: list[bool] = []  # of the last layer, but for rounding
        for i in range(len(self.nodes)):
            one = self._one(i, SAME)
            result.append(self.reads[i] or one is not None and result[one] and not later[one])
        of_both = [a and b for a, b in zip(self.moving, self.trained, strict=True)]
        return [self.forward[i] and of_both[i] and not later[i] and not result[i] for i in range(len(self.nodes))]

    def _place(self, i: int) -> _Place | None:
        """None for what follows from no parameter."""
        node = self.nodes[i]
        if isinstance(node.operation, Param):
            return _Place(0, layer(self.circuit.parameters[node.operation.index].path))
        moving = [x for j in node.inputs if self.moving[j] and (x := self.places[j]) is not None]
        fixed = [x for j in node.inputs if not self.moving[j] and (x := self.places[j]) is not None]
        if not moving and not fixed:
            return None
        if not self.moving[i]:
            return max(fixed, key=lambda x: x.depth)._replace(of=_common(fixed))
        depth = max((x.depth for x in moving), default=0)
        deepest = [x for x in moving if x.depth == depth]
        last = _common(deepest) if deepest else None
        if self.loss[i]:
            owner: Path | str = LOSS
        elif fixed:
            owner = _common(fixed)
        elif self.backward[i] and self.inner[i] and isinstance(node.operation, Dot | Gate):  # by what was there first
            first = min(x.depth for x in moving)
            owner = _common([x for x in moving if x.depth == first])
        else:
            owner = _common(deepest)
        return _Place(depth + (owner != last), owner)

    def _owner(self, i: int) -> Owner:
        place = self.places[i]
        if not self.forward[i] and not self.backward[i]:
            return Owner(OPTIMIZER)
        return Owner(DATA if place is None else place.of, self.backward[i])


def _common(places: list[_Place]) -> Path | str:
    """The owner of all of these, or of layers what their paths have in common."""
    names = {x.of for x in places}
    if len(names) == 1:
        return names.pop()
    if LOSS in names:
        return LOSS
    first, last = min(names), max(names)
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: same.index(False) if False in same else len(same)]
