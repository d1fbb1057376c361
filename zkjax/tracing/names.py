"""Names: what people call tensors. A tensor is named after the parameter that made it, in the words of the circuit's printout.

Those that are rounded, and the arrays of the batch, have names of their own, by which ``Precision.tensors`` finds them: the second one
that would be called "product" is "product 2". They follow from the program and the order in which it was traced, not from any format.
"""

import difflib

from ..errors import ConfigurationError
from ..ops.draw import PLACE, Draw
from ..ops.leaves import Param
from ..ops.products import Dot, Gate
from .demands import Demands
from .expressions import Applied, Expression, FirstPlace, Maximum, Numbers, Picked, Ratio, SquareRoot, masked, unmoved
from .motions import Row
from .precision import Precision
from .step import Program

KINDS = {Picked: "one-hot", Maximum: "maximum", FirstPlace: "first maximum"}


class Names:
    """Of the tensors of a program.

    of: the own name of each tensor that may be rounded, in traced order.
    """

    def __init__(self, program: Program, rows: tuple[Row, ...], demands: Demands):
        self._labels = dict(program.graph.labels)
        for state, row in zip(program.states, rows, strict=True):
            for x in row.feeds:
                self._labels.setdefault(x, f"{state.leaf.path} gradient")
        self._inputs, self._paths = program.input_names, [state.leaf.path for state in program.states]
        taken = set(self._inputs)
        self.of: dict[Expression, str] = {}
        for x in demands.needed:
            if x in demands.narrow or x in demands.quotients or x in demands.sites or x.does(Applied, Ratio, SquareRoot):
                self.of[x] = _unique(self.label(x), taken)

    def label(self, x: Expression) -> str:
        """What a tensor is called, which others may be called too."""
        if x not in self._labels:
            if x.does(Draw):
                self._labels[x] = {0: "random words", PLACE: "one-hot"}.get(x.operation.threshold, "mask")
            elif (other := masked(x)) is not None:
                self._labels[x] = self.label(other)
            elif x.does(Applied):
                self._labels[x] = f"{x.operation.program[-1][0]} of {self.label(x.inputs[0])}"
            elif x.does(Picked, Maximum, FirstPlace):
                self._labels[x] = f"{KINDS[type(x.operation)]} of {self.label(x.inputs[0])}"
            elif x.does(Ratio, SquareRoot):
                self._labels[x] = f"{'quotient by' if x.does(Ratio) else 'root of'} {self.label(x.inputs[-1])}"
            elif x.does(Dot):
                owners = [o for o in map(_owner, x.inputs) if o is not None]
                self._labels[x] = f"{self._labels[owners[0]]} {'backward' if x.tagged else 'forward'}" if owners else "product"
            else:
                names = [self.label(y) for y in (x.inputs[-1:] if x.does(Gate) else x.inputs) if not y.does(Numbers)]
                # a sum is named after the product in it: bias and residual are beside the point
                name = next((n for n in names if " " in n), names[0] if names else "constant")
                error = x.tagged and not any(y.tagged for y in x.inputs)  # where the seed enters: prediction - target
                self._labels[x] = name.removesuffix(" forward") + " error" if error else name
        return self._labels[x]

    def check(self, precision: Precision) -> None:
        """ConfigurationError for a format of something that is not there; it tells what comes closest."""
        tensors = (*self._inputs, *self.of.values())
        for field, known in (("tensors", tensors), ("parameters", self._paths), ("states", self._paths)):
            for name in getattr(precision, field) or ():
                if name not in known:
                    near = ", ".join(map(repr, difflib.get_close_matches(name, known, n=3, cutoff=0.0)))
                    raise ConfigurationError(f"Precision.{field} names {name!r}, and this step has none of that name; near are {near}")


def _unique(label: str, taken: set[str]) -> str:
    """The label, with the least ordinal that makes it another name than those before; it is taken then."""
    name, count = label, 1
    while name in taken:
        count += 1
        name = f"{label} {count}"
    taken.add(name)
    return name


def _owner(x: Expression) -> Expression | None:
    """The parameter that x is a moved copy of, or None."""
    x = unmoved(x)
    return x if x.does(Param) else None
