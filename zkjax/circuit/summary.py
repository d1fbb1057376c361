"""A circuit in plain words, derived from its operations: what a digest covers, told to people.

Notes are not read here. A net is called a chain of layers, and a loss a squared error, only where the operations are that;
any other circuit is told by what its loss reads. Names and scales are those of the file. Linear in the size of the circuit.

PROTOCOL.md, section 5.
"""

import json
import math
from collections.abc import Sequence

from ..display import plain
from ..ops.arithmetic import Linear
from ..ops.draw import Draw
from ..ops.leaves import InputArray, Param
from ..ops.moves import Broadcast, Reshape
from ..ops.products import Dot, Gate
from ..ops.rescale import Ceiling, Rescale

SHOWN = 6  # names of what is told together
NUMBERS = ("x", "number", "add", "sub", "mul", "div", "neg")  # of a function, what other formats change


def rates(values: tuple[float, ...]) -> str:
    """A constant rate, or a schedule of them: first, last, range, and how many steps have none."""
    first, last, least, most = (_told(x) for x in (values[0], values[-1], min(values), max(values)))
    if len(values) == 1:
        return first
    none = f", 0 in {values.count(0)} of them" if 0 in values else ""
    return f"{first}..{last} (in {len(values)} steps from {least} to {most}{none})"


def _told(value: float) -> str:
    """Four digits. Ties, such as 1/64, are those of twelve digits: the last bits of what was evaluated differ among machines."""
    return f"{float(f'{value:.12g}'):.4g}"


def quoted(name: str) -> str:
    """A name of a file's author in a sentence of ours: where it begins and ends is seen."""
    return plain(json.dumps(name, ensure_ascii=False))


def some(names: Sequence[str]) -> str:
    """The first ones of several."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def counted(number: int, what: str) -> str:
    """ "1 layer", "2 layers"."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def kind(node) -> str:
    """An operation without its formats: by name, a function by the functions in it."""
    program = node.operation.attributes().get("program")
    if program is not None:
        used = [name for name, *_ in program if name not in NUMBERS]
        return f"{node.op} of {' and '.join(dict.fromkeys(used)) or 'its input'}"
    return node.operation.describe() if node.operation.drawn else node.op


def net(circuit) -> str:
    """What one step computes, in a sentence each on the batch, the net with its loss, and the parameters."""
    inputs = ", ".join(f"{quoted(x.name)} of {'x'.join(map(str, x.shape[1:])) or 1}" for x in circuit.inputs)
    updated = circuit.updated()
    frozen = [quoted(p.path) for p, moves in zip(circuit.parameters, updated, strict=True) if not moves]
    number = f"{counted(sum(math.prod(p.shape) for p in circuit.parameters), 'parameter')} in {counted(len(updated), 'tensor')}"
    trained = "NO PARAMETER IS UPDATED" if not any(updated) else f"frozen: {', '.join(frozen)}" if frozen else "all are updated"
    return f"A batch of {circuit.batch_size} has {inputs}. {_Forward(circuit).sentence()}. {number}; {trained}."


class _Forward:
    """The operations that the loss is computed from.

    fixed: whether a node depends on no input. origin: the node that has its values, but for rounding, the order of entries that
    a reshape keeps, and what depends on no input, such as a bias; itself where there is none below.
    """

    def __init__(self, circuit):
        self.circuit, self.nodes = circuit, circuit.nodes
        self.losses = {loss.node for loss in circuit.losses if loss.output == "loss"}
        read = [i in self.losses for i in range(len(self.nodes))]
        for i in reversed(range(len(self.nodes))):
            for j in self.nodes[i].inputs if read[i] else ():
                read[j] = True
        products = (i for i, node in enumerate(self.nodes) if read[i] and isinstance(node.operation, Dot | Gate))
        self.products = [i for i in products if i not in self.losses]
        self.fixed: list[bool] = []
        self.trained: list[bool] = []  # depends on a parameter
        self.origin: list[int] = []
        for i, node in enumerate(self.nodes):
            self.fixed.append(not isinstance(node.operation, InputArray) and all(self.fixed[j] for j in node.inputs))
            self.trained.append(isinstance(node.operation, Param) or any(self.trained[j] for j in node.inputs))
            below = self._below(i)
            self.origin.append(i if below is None else self.origin[below])

    def _below(self, i: int) -> int | None:
        """The node that node i takes its values from."""
        node, operation = self.nodes[i], self.nodes[i].operation
        if isinstance(operation, Reshape):
            return node.inputs[0]
        if isinstance(operation, Rescale):
            return node.inputs[0] if node.scale == self.nodes[node.inputs[0]].scale - operation.shift else None
        if isinstance(operation, Linear):
            if self._is_centred(i):
                return node.inputs[0]
            moving = [(j, c) for j, c in zip(node.inputs, operation.coefficients, strict=True) if not self.fixed[j]]
            if len(moving) == 1 and _power(moving[0][1], self.nodes[moving[0][0]].scale) == _power(1, node.scale):
                return moving[0][0]
        return None

    def _is_centred(self, i: int) -> bool:
        """Whether node i is a ReLU's result less half a unit where it is above 0: the mean of what was rounded up to it."""
        node = self.nodes[i]
        gate = self.nodes[node.inputs[0]]
        if node.operation.coefficients != (2, -1) or not isinstance(gate.operation, Gate) or node.scale != gate.scale + 1:
            return False
        return gate.inputs[0] == node.inputs[1] and isinstance(self.nodes[gate.inputs[1]].operation, Ceiling)

    def _is_input(self, i: int) -> bool:
        return isinstance(self.nodes[i].operation, InputArray)

    def sentence(self) -> str:
        """The net as a chain and its loss, or else what the loss reads."""
        chain, end = self._chain()
        error = self._error(end) if chain else None
        if error is not None:
            return f"The net is {' -> '.join(chain)}, the loss {error}"
        return f"The loss reads {self._counts()}"

    def _layer(self, i: int):
        """(the data that product i reads, sizes) where it multiplies them by parameters; else None."""
        node = self.nodes[i]
        if isinstance(node.operation, Dot) and not node.operation.batch[0]:
            for side, (x, w) in enumerate((node.inputs, node.inputs[::-1])):
                if self.fixed[w] and self.trained[w] and not self.fixed[x]:
                    size = math.prod(self.nodes[w].shape[axis] for axis in node.operation.contract[1 - side])
                    return x, (size, math.prod(self.nodes[w].shape) // size)
        return None

    def _relu(self, i: int) -> int | None:
        """What product i reads, where it is a value times its own sign."""
        sign, y = self.nodes[i].inputs
        return y if isinstance(self.nodes[i].operation, Gate) and self.nodes[sign].inputs == (y,) else None

    def _mask(self, i: int) -> tuple[int, str] | None:
        """(what product i reads, words), where it is a value times zeros and ones that are drawn from a key."""
        for drawn, y in (self.nodes[i].inputs, self.nodes[i].inputs[::-1]):
            while isinstance(self.nodes[drawn].operation, Reshape | Broadcast):
                (drawn,) = self.nodes[drawn].inputs
            operation = self.nodes[drawn].operation
            if isinstance(operation, Draw) and operation.probability is not None:
                return y, f"mask that keeps {operation.probability:.4g}"
        return None

    def _chain(self) -> tuple[list[str], int]:
        """The words and the last product, where the first one reads an input and each later one the one before; else no words."""
        words, end = [], -1
        for i in self.products:
            layer, relu, mask = self._layer(i), self._relu(i), self._mask(i)
            reads = layer[0] if layer else mask[0] if mask else relu
            if reads is None or (not self._is_input(self.origin[reads]) or not layer if end < 0 else self.origin[reads] != end):
                return [], -1
            words += [str(size) for size in layer[1][end >= 0 :]] if layer else [mask[1]] if mask else ["ReLU"]
            end = i
        return words, end

    def _error(self, end: int) -> str | None:
        """The loss in words, where it is the sum of squares of a multiple of the net's result less an input."""
        loss = next(iter(self.losses), 0)
        node = self.nodes[loss]
        if len(self.losses) != 1 or not isinstance(node.operation, Dot) or len(set(node.inputs)) != 1 or node.shape != ():
            return None
        i = node.inputs[0]
        while isinstance(self.nodes[i].operation, Rescale | Linear) and len(self.nodes[i].inputs) == 1:
            (i,) = self.nodes[i].inputs
        node = self.nodes[i]
        if not isinstance(node.operation, Linear):
            return None
        moving = [(j, c) for j, c in zip(node.inputs, node.operation.coefficients, strict=True) if not self.fixed[j]]
        results = [_power(c, self.nodes[j].scale) for j, c in moving if self.origin[j] == end]
        targets = [(self.origin[j], _power(-c, self.nodes[j].scale)) for j, c in moving if self._is_input(self.origin[j])]
        if len(moving) != 2 or not targets or [factor for _, factor in targets] != results:
            return None
        return f"the squared error against {quoted(self.circuit.inputs[self.nodes[targets[0][0]].operation.index].name)}"

    def _counts(self) -> str:
        layers = [layer[1] for layer in map(self._layer, self.products) if layer]
        relus = sum(self._relu(i) is not None for i in self.products)
        sizes = f" ({', '.join(f'{a} -> {b}' for a, b in layers)})" if layers else ""
        masks = sum(self._mask(i) is not None for i in self.products)
        other = len(self.products) - len(layers) - relus - masks
        drawn = f"{counted(masks, 'random mask')}, " if masks else ""
        return f"{counted(len(layers), 'layer')}{sizes}, {drawn}{counted(relus, 'ReLU')} and {counted(other, 'other product')}"


def _power(c: int, exponent: int) -> tuple[int, int]:
    """c * 2^exponent in lowest terms, so that equal numbers are equal pairs."""
    shift = (c & -c).bit_length() - 1 if c else 0
    return c >> shift, exponent + shift if c else 0
