"""What the rest of zkjax may ask of an operation, and a node of the graph.

An operation is a frozen dataclass: its fields are its attributes in the circuit file, its methods are rules. Nobody else
compares names: circuit, trainer, prover and verifier are loops that ask. Rules come in three groups, by who asks:

    everyone    infer_shape  check  bound  describe        what it computes: integers, never arrays
    verifier    pull  passes  advice  lookups              what proves it: forms and K vectors, NumPy only
    trainer     evaluate  keep  witness  fold              arrays of NumPy or jax.numpy, whichever come

A rule that needs more than that is handed it: the walk of claims, the prover's folder. None of these modules imports JAX.

PROTOCOL.md, section 5.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from ..errors import FormatError

LIMIT = 2**63  # every bound stays below: int64 while training, and far from p in the proof
MAX_RANK = 8  # axes of a tensor


class Leaves(NamedTuple):
    """What a graph's leaves refer to: declared inputs and parameters; bounds: of the parameters, None where one is not known; after: those
    with a recurrence after a step."""

    inputs: tuple
    parameters: tuple
    bounds: Sequence[int | None] | None = None
    after: Sequence[int | None] | None = None


@dataclass(frozen=True)
class Operation:
    """Base of all operations. Its defaults are those of one that commits nothing and looks nothing up.

    name:      in the circuit file. arity: how many operations it reads; None: any number but zero.
    ends:      the kind of tensor on which a claim on it ends ("quotient", "sign", "function", "first", "input", "param", "dot", ..), "" for
               a constant, and None where a claim goes through it: a linear operation.
    as_stored: ``evaluate`` takes parameters that are stored as float64; else all arrays are int64.
    rounds:    its integers stand for other numbers than an exact computation has.
    rides:     its tensor is a further column of the lookup of the committed tensor that it reads.
    rebuilt:   a training step does not keep its value, and the proof makes it again from its inputs', which are kept.
    checked:   lookups of an entry that its declaration takes, besides those of ``lookups``.
    moved:     its value follows from a state's recurrence: the trainer hands ``evaluate`` (base, coefficients of the inputs) as limbs.
    paced:     it is multiplied by a public number of the step, which ``evaluate`` is given as limbs.
    adds:      its entries are sums, which may cancel.
    drawn:     its value follows from the step's keys, which the trainer hands ``leaf``.
    """

    name: ClassVar[str]
    arity: ClassVar[int | None] = 1
    ends: ClassVar[str | None] = None
    as_stored: ClassVar[bool] = False
    rounds: ClassVar[bool] = False
    rides: ClassVar[bool] = False
    rebuilt: ClassVar[bool] = False
    checked: ClassVar[int] = 0
    moved: ClassVar[bool] = False
    adds: ClassVar[bool] = False
    drawn: ClassVar[bool] = False
    paced: ClassVar[bool] = False

    # ---- everyone ---------------------------------------------------------------------------------------------
    def infer_shape(self, x: list, leaves: Leaves) -> tuple[int, ...]:
        """Shape of the result from those of the inputs; ValueError and the like for contradictory attributes."""
        raise NotImplementedError

    def check(self, i: int, circuit) -> None:
        """FormatError where it reads what it may not read, or does not fit the circuit's tables."""

    def bound(self, x: list, shapes: list, leaves: Leaves) -> int | None:
        """Largest absolute value from those of the inputs; None where it depends on one that is not known."""
        return None if None in x else max(x)

    def describe(self) -> str:
        """For people."""
        return self.name

    def worth(self, x: list[float], scale: int, below: list[int]) -> float:
        """The value of an integer 1, for people, from those of the inputs; scale, below: bits after the point that the circuit's author
        gives to its result and its inputs, which are read only where nothing else says it."""
        return x[0] if x else 2.0**-scale

    # ---- verifier ---------------------------------------------------------------------------------------------
    def below(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Those of its inputs that a claim on it goes to; the others are constants."""
        return inputs

    def passes(self, i: int, node: "Node", walk) -> int:
        """How many terms a term becomes here."""
        return len(node.inputs)

    def pull(self, i: int, node: "Node", term, walk) -> list:
        """The term as terms on inputs or on tensors: the transpose of a linear map. Constants are ``walk.add``ed."""
        raise NotImplementedError

    def advice(self, i: int, circuit) -> dict[tuple, tuple[int, ...]]:
        """Committed tensors of its own: key to shape, without the step axis."""
        return {}

    def anchored(self, i: int) -> tuple[tuple, ...]:
        """Committed tensors that its lookups bound together, though none of them does so alone; its inputs are bounded."""
        return ()

    def reach(self, x: list) -> int:
        """How far a relation of its own, beyond those of single lookups, can be from 0; x: bounds of its inputs."""
        return 0

    def committed_bounds(self, i: int, circuit) -> dict[tuple, int]:
        """The largest integers of committed tensors that no lookup holds alone in its first column."""
        return {}

    def lookups(self, i: int, circuit) -> list:
        """The lookups (``ranges.Lookup``, shapes without the step axis) that make its value true."""
        return []

    # ---- trainer and prover -----------------------------------------------------------------------------------
    def evaluate(self, x: list, node: "Node", shapes: list, limbs) -> Any:
        """The integers of one step. limbs: ``exact.plan``'s for this node; None: x are floats, and nothing is rounded."""
        raise NotImplementedError

    def over_steps(self, x: list, node: "Node", shapes: list, limbs) -> Any:
        """Those of all steps, the first axis of every array."""
        return x[0].__array_namespace__().stack([self.evaluate(list(below), node, shapes, limbs) for below in zip(*x, strict=True)])

    def leaf(self, parameters, inputs, keys=None) -> Any:
        """Of an operation that reads none: its value, from the arrays of all parameters and inputs, or from the step's keys."""
        raise NotImplementedError

    def summed(self, shapes: list) -> int | None:
        """Of a product of matrices: how many products an entry sums; None of others."""
        return None

    def table_width(self) -> int:
        """Of the narrowest largest table with which a circuit can have it."""
        return 0

    def outside(self, value: int, scale: int) -> str:
        """What to tell of a value beyond ``limits``; scale: bits after the point."""
        low, high = self.limits()
        return f"holds {value} = {value * 2.0**-scale:g}, outside [{low}, {high}) = [{low * 2.0**-scale:g}, {high * 2.0**-scale:g})"

    def judged(self, y) -> Any:
        """Of its values, rounded or not, those that rounding is judged by: what others make use of."""
        return y

    def keep(self, x: list, y, leaves: Leaves) -> dict[str, tuple[Any, Any]]:
        """What a training step keeps for the proof, from inputs and result: name to (array, NumPy dtype that holds what is in range)."""
        return {}

    def limits(self) -> tuple[int, int] | None:
        """low <= result < high, which training checks; None: nothing to check."""
        return None

    def witness(self, i: int, kept: dict, circuit) -> dict:
        """Committed tensors, and virtual columns of its lookups, by key, from what was kept (int64, by name)."""
        return {}

    def at_steps(self, i: int, node: "Node", prover) -> Any:
        """Its integers at every step, int64 (steps, ...); by default evaluated from its inputs'."""
        return prover.evaluated(i)

    def places(self, i: int, node: "Node", prover) -> Any:
        """Of a one-hot along its last axes the place of the one among their entries, int64 (steps, other axes), -1: none. Else None."""
        return None

    def fold(self, i: int, node: "Node", groups: list, kept: tuple[int, ...], prover) -> Any:
        """sum over all axes but ``kept`` of its value times the groups' vectors: K (steps, kept axes in the given order)."""
        return prover.fold_values(i, groups, kept)

    # ---- file -------------------------------------------------------------------------------------------------
    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of its attributes."""
        return tuple(f.name for f in fields(cls))

    def attributes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.names()}


@dataclass(frozen=True)
class Node:
    """One operation of a graph. ``inputs``: indices of earlier nodes; ``shape``: without the step axis; ``scale``: bits after the point."""

    operation: Operation
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    scale: int = 0
    label: str = ""

    @property
    def op(self) -> str:
        """The operation's name."""
        return self.operation.name

    def __getitem__(self, name: str) -> Any:
        """An attribute of the operation, by its name in the circuit file."""
        return self.operation.attributes()[name]


def result_shape(operation: Operation, shapes: list, leaves: Leaves) -> tuple[int, ...]:
    """Shape of an operation's result; ValueError and the like for contradictory attributes or another number of inputs."""
    if operation.arity == 0:
        require(not shapes, "it reads other operations")
    else:
        require(bool(shapes), "no inputs")
        require(operation.arity in (None, len(shapes)), f"{len(shapes)} inputs")
    return operation.infer_shape(shapes, leaves)


def check_reads(i: int, circuit, *kinds: type[Operation]) -> None:
    """FormatError where node i reads other operations than these."""
    found = [circuit.nodes[j] for j in circuit.nodes[i].inputs]
    if not all(isinstance(node.operation, kind) for node, kind in zip(found, kinds, strict=True)):
        expected = [kind.name for kind in kinds]
        raise FormatError(f"{circuit.describe(i)} reads {[node.op for node in found]}, expected {expected}")


def require(condition: bool, message: str) -> None:
    """ValueError where a condition on attributes or shapes does not hold."""
    if not condition:
        raise ValueError(message)


def dims(shape) -> tuple[int, ...]:
    """A shape among attributes."""
    require(len(shape) <= MAX_RANK, f"{len(shape)} axes, more than {MAX_RANK}")
    require(all(isinstance(n, int) and n >= 1 for n in shape), "axis lengths must be positive integers")
    return tuple(shape)
