"""Verify a comparison: how far a training moved its weights, or that it left some of them alone. NumPy and the standard library only.

A comparison is a proof of a circuit that follows from the training's and from its *terms*. All its parameters are frozen, and it opens the
training's own commitments to its first and to its last weights (``Frozen.beside``). Of each part that the terms name, the differences are
rounded to a common unit and their squares added up: the sum is revealed, or only that it is at most a limit.

PROTOCOL.md, section 4.10.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from os import PathLike
from typing import Any

from . import files
from .circuit.circuit import Circuit
from .circuit.parts import PARAMETERS, Input, Loss, Parameter
from .display import Sheet, Shown, Table, in_decimals
from .errors import ConfigurationError, FormatError, VerificationError
from .evaluation import Training, checked_training
from .ops.arithmetic import Linear
from .ops.leaves import Const, InputArray, Param
from .ops.operation import Node, Operation
from .ops.products import Dot
from .ops.rescale import Rescale, Sign
from .proofs.links import Classes, joined
from .proofs.proof import Proof
from .proofs.soundness import TARGET, Security
from .proofs.statement import Statement
from .verifier import check_minimum, verify_chain
from .work import MAX_MEMORY, MAX_WORK

MAX_FILE = 2**24  # bytes of terms
LARGEST = 2**62  # of a limit
NOTHING = Input("nothing", (1,), 0, 0)  # that a comparison reads: every circuit reads some data
SHIFT = 62  # bits by which a difference is rounded, or made finer, at most


@dataclass(frozen=True)
class Part:
    """What is asked of some parameters: the squared distance of their first from their last values, or whether it is at most a limit.

    paths: of parameters, each once. scale: the differences are rounded to multiples of 2^-scale. limit: of the sum of their squares, in
    units of 4^-scale; None: the sum is revealed.
    """

    paths: tuple[str, ...]
    scale: int
    limit: int | None = None


@dataclass(frozen=True)
class Terms:
    """What a comparison asks: parts of the parameters, none of them in two. ``circuit`` says what follows for its proof."""

    parts: tuple[Part, ...]

    def save(self, path: str | PathLike[str]) -> None:
        """Write them as readable JSON."""
        parts = [{"paths": list(x.paths), "scale": x.scale, "limit": x.limit} for x in self.parts]
        files.publish(path, json.dumps({"format": "zkjax comparison", "version": 1, "parts": parts}, indent=1).encode())

    @staticmethod
    def load(path: str | PathLike[str]) -> "Terms":
        """Read such a file. Raises: FormatError - malformed; OSError."""
        data = files.read_json(path, MAX_FILE)
        if not isinstance(data, dict) or set(data) != {"format", "version", "parts"} or data["format"] != "zkjax comparison":
            raise FormatError(f"{path}: not the terms of a comparison; zkjax.compare makes them")
        if type(data["version"]) is not int or data["version"] != 1:
            raise FormatError(f"{path}: version {data['version']!r:.40}, this zkjax reads version 1")
        parts = data["parts"] if isinstance(data["parts"], list) else [None]
        return Terms(tuple(_part(path, i, x) for i, x in enumerate(parts)))

    def circuit(self, training: Circuit) -> Circuit:
        """The circuit of the proof. Its parameters are the training's twice: "first PATH" and, after all of these, "last PATH".

        Raises: ConfigurationError - terms that do not fit the training.
        """
        own = [training.parameters[p] for p in training.held[PARAMETERS]]
        places = {x.path: place for place, x in enumerate(own)}
        named = [path for part in self.parts for path in part.paths]
        if not self.parts or not all(part.paths for part in self.parts):
            raise ConfigurationError("a comparison is of one part or more, each of one parameter or more")
        for path in named:
            if path not in places:
                raise ConfigurationError(f"{path!r:.80} is none of the parameters that are trained: {', '.join(places)[:400]}")
        if len({*named}) < len(named):
            raise ConfigurationError("a parameter stands in the parts of a comparison twice")
        graph = _Graph(training.table_bits - 1)
        losses = []
        for i, part in enumerate(self.parts):
            shown = graph.part(part, [(places[path], places[path] + len(own), own[places[path]]) for path in part.paths])
            losses.append(Loss(shown, Fraction(1, 4) ** part.scale if part.limit is None else Fraction(1), f"part {i}"))
        twice = tuple(Parameter(f"{end} {x.path}", x.shape, unit=x.unit) for end in ("first", "last") for x in own)
        return Circuit(tuple(graph.nodes), (NOTHING,), twice, tuple(losses), training.table_bits).check()


def _part(path, i: int, item: Any) -> Part:
    where = f"{path}: parts[{i}]"
    if not isinstance(item, dict) or set(item) != {"paths", "scale", "limit"}:
        raise FormatError(f"{where} needs paths, scale and limit")
    if not isinstance(item["paths"], list) or not all(isinstance(x, str) for x in item["paths"]):
        raise FormatError(f"{where}: paths is no list of names")
    if type(item["scale"]) is not int or not -(2**10) <= item["scale"] <= 2**10:
        raise FormatError(f"{where}: scale is {item['scale']!r:.40}, expected an integer")
    if item["limit"] is not None and (type(item["limit"]) is not int or not 0 <= item["limit"] < LARGEST):
        raise FormatError(f"{where}: limit is {item['limit']!r:.40}, expected null or an integer below 2^62")
    return Part(tuple(item["paths"]), item["scale"], item["limit"])


class _Graph:
    """The operations of a comparison. bits: of rounded differences, -2^bits <= h < 2^bits."""

    def __init__(self, bits: int):
        self.bits = bits
        self.nodes = [Node(InputArray(0), (), NOTHING.shape)]

    def add(self, operation: Operation, inputs: tuple[int, ...] = (), shape: tuple[int, ...] = ()) -> int:
        self.nodes.append(Node(operation, inputs, shape))
        return len(self.nodes) - 1

    def part(self, part: Part, members: Sequence[tuple[int, int, Parameter]]) -> int:
        """The node of what is shown of a part. members: (first, last, parameter), the numbers of both."""
        squares, entries = [], 0
        for first, last, parameter in members:
            dropped = rounded_bits(part, parameter)
            shape, axes, finer = parameter.shape, tuple(range(len(parameter.shape))), 1 << max(0, -dropped)
            pair = self.add(Param(first), (), shape), self.add(Param(last), (), shape)
            moved = self.add(Linear((-finer, finer)), pair, shape)
            h = self.add(Rescale(self.bits, max(0, dropped)), (moved,), shape)
            squares.append(self.add(Dot((axes, axes), ((), ())), (h, h)))
            entries += math.prod(shape)
        total = self.add(Linear((1,) * len(squares)), tuple(squares))
        if part.limit is None:
            return total
        # 1 exactly where total <= limit: the sign of floor((limit - total + 2^shift) / 2^shift)
        shift = max(1, ((entries << 2 * self.bits) + part.limit).bit_length() - self.bits + 1)
        limit = self.add(Const((), (part.limit + (1 << shift - 1),)))
        left = self.add(Linear((1, -1)), (limit, total))
        return self.add(Sign(), (self.add(Rescale(self.bits, shift), (left,)),))


def rounded_bits(part: Part, parameter: Parameter) -> int:
    """How many bits of its differences are dropped; below 0: how many zeros are added. ConfigurationError where that is no choice."""
    unit = parameter.unit
    exponent = unit.denominator.bit_length() - unit.numerator.bit_length()
    if unit != Fraction(2) ** -exponent:
        raise ConfigurationError(f"the unit of {parameter.path} is no power of two; its weights cannot be compared")
    if not -SHIFT <= exponent - part.scale <= SHIFT:
        raise ConfigurationError(f"{parameter.path} has {exponent} bits after the point, and is compared with {part.scale} of them")
    return exponent - part.scale


@dataclass(frozen=True)
class Moved:
    """What is shown of a part. entries: how many weights it has. least, most: of its Euclidean distance. squared: of it the exact square,
    None where it is not known."""

    paths: tuple[str, ...]
    entries: int
    squared: Fraction | None
    least: Fraction
    most: Fraction

    @property
    def unchanged(self) -> bool:
        """Whether every weight is what it was."""
        return self.most == 0

    def __str__(self) -> str:
        """For people."""
        if self.unchanged:
            return "unchanged"
        if self.squared is not None:
            return _decimal(self.most, round)
        least = f"at least {_decimal(self.least, math.floor)}, " if self.least else ""
        return f"{least}at most {_decimal(self.most, math.ceil)}"

    @staticmethod
    def of(part: Part, own: Mapping[str, Parameter], total: int | None) -> "Moved":
        """From the sum that is shown of it; None: that it is at most the limit. own: the parameters by their paths.

        A rounded difference is within half a unit of the difference, so distances are within half a unit times the root of the entries.
        """
        sizes = {path: math.prod(own[path].shape) for path in part.paths}
        off = sum(size for path, size in sizes.items() if rounded_bits(part, own[path]) > 0)
        unit, slack = Fraction(2) ** -part.scale, _root(Fraction(off, 4), up=True)
        known = part.limit if total is None else total
        most = unit * (_root(Fraction(known), up=True) + slack)
        least = Fraction(0) if total is None else unit * max(Fraction(0), _root(Fraction(total), up=False) - slack)
        return Moved(part.paths, sum(sizes.values()), None if total is None or off else total * unit**2, least, most)


@dataclass(frozen=True)
class Compared(Shown):
    """What a comparison shows.

    statement: its own. parts: what it shows of each part of the terms. security: the proof's ledger.
    """

    statement: Statement
    parts: tuple[Moved, ...]
    security: Security | None = field(default=None, repr=False)

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Paths of the parameters that are shown to be, in every entry, what they were."""
        return tuple(path for part in self.parts if part.unchanged for path in part.paths)

    def to_json(self) -> list[dict[str, Any]]:
        """The parts in JSON's types; exact values as fractions, [numerator, denominator]."""

        def pair(x: Fraction | None) -> list[int] | None:
            return None if x is None else [x.numerator, x.denominator]

        found = ({"least": pair(x.least), "most": pair(x.most), "squared": pair(x.squared)} for x in self.parts)
        return [{"parameters": list(x.paths), "weights": x.entries} | told for x, told in zip(self.parts, found, strict=True)]

    def sheet(self) -> Sheet:
        """Each part as a row."""
        facts = Table(tuple(zip(("first weights", "last weights"), (x.hex() for x in self.statement.read), strict=True)), left=(0, 1))
        rows = tuple((", ".join(x.paths), f"{x.entries:,}", str(x)) for x in self.parts)
        return Sheet("Comparison of first and last weights", (facts, Table(rows, ("parameters", "weights", "distance"), left=(0, 2))))


def verify_comparison(
    terms: Terms,
    proof: Proof,
    *,
    training: Training,
    at_most: float | None = None,
    unchanged: Sequence[str] = (),
    minimum_bits: float = TARGET,
    max_work: int = MAX_WORK,
    max_memory: int = MAX_MEMORY,
) -> Compared:
    """Verify the proof of a comparison (``zkjax.compare``). Returns what it shows; raises otherwise.

    terms:    what is asked; ``zkjax.Terms.load`` reads them. The proof's circuit follows from them and the training's.
    training: the training's circuit, and the statements that ``zkjax.verify`` returned for its proofs, all of them in order, those of
              ``zkjax.link`` too: compared are the first weights of the first one and the last of the last one, within the bounds that
              the training shows. Parameters that the training's circuit freezes are the same by the training's own proofs.
    at_most:   require that all parts of the terms together are shown to have moved by no more than this Euclidean distance.
    unchanged: paths of parameters that are required to be shown unchanged.
    minimum_bits, max_work, max_memory: as for ``zkjax.verify``.

    What is not required is only what the proof shows: look at which parameters the parts are of.
    Raises: VerificationError - an invalid proof, or of other weights, bounds or terms; terms or requirements that do not hold; FormatError;
            ConfigurationError - misuse.
    """
    check_minimum(minimum_bits)
    if not isinstance(terms, Terms):
        raise ConfigurationError(f"terms is a {type(terms).__name__}; give zkjax.Terms (zkjax.Terms.load reads them)")
    if not isinstance(proof, Proof) or not isinstance(proof.statement, Statement):
        raise ConfigurationError("proof: give the zkjax.Proof of a comparison")
    trained, statement = checked_training(training), proof.statement
    try:
        circuit = terms.circuit(training[0])
    except ConfigurationError as error:
        raise VerificationError("terms", str(error)) from None
    _, (security,) = verify_chain(circuit, proof, assume_bound=True, minimum_bits=minimum_bits, max_work=max_work, max_memory=max_memory)
    check_ends(training[0], [s for s in trained if isinstance(s, Statement)], statement, joined([*trained, statement]))
    found = replace(read_comparison(terms, training[0], statement), security=security)
    check_required(found, at_most, unchanged)
    return found


def check_required(found: Compared, at_most: float | None, unchanged: Sequence[str]) -> None:
    """What the caller requires of what is shown. Raises VerificationError, and ConfigurationError for what is no distance."""
    if isinstance(unchanged, str) or not all(isinstance(path, str) for path in unchanged):
        raise ConfigurationError("unchanged: give a list of paths of parameters")
    for path in unchanged:
        if path not in found.unchanged:
            raise VerificationError("unchanged", f"{path!r:.80} is not shown to be unchanged")
    if at_most is None:
        return
    if isinstance(at_most, bool) or not isinstance(at_most, int | float) or not 0 <= at_most < math.inf:
        raise ConfigurationError(f"at_most is {at_most!r:.40}; give a distance, 0 or more")
    if sum((part.most**2 for part in found.parts), Fraction(0)) > Fraction(at_most) ** 2:
        raise VerificationError(
            "distance", f"at most {at_most:g} is not shown: parts of the weights are {', '.join(map(str, found.parts))}"
        )


def check_ends(training: Circuit, chunks: Sequence[Statement], statement: Statement, classes: Classes) -> None:
    """What is compared are a training's first and last weights, with the shifts and the bounds that it gives them.

    classes: of the verified training's statements and this one. Raises VerificationError.
    """
    first, last, own, frozen = chunks[0], chunks[-1], training.held[PARAMETERS], statement.frozen
    if first.circuit != training.digest() or last.circuit != training.digest():
        raise VerificationError("training", "its statements are about another circuit")
    if len(statement.read) != 2 or frozen.parameters != tuple(range(len(own))):
        raise VerificationError("comparison", "the proof does not read the weights of two commitments, one after the other")
    for name, ended, read in (("first", first.initial, frozen.commitment), ("last", last.final, frozen.beside.commitment)):
        # digests bind the geometry, too
        ended, read = ended.part_digest(first.geometry, PARAMETERS), read.part_digest(statement.geometry, PARAMETERS)
        if not classes.same(ended, read):
            raise VerificationError("training", f"its {name} weights are not those that are compared")
    if statement.shifts != (*(first.shifts[p] for p in own), *(0 for _ in own)):
        raise VerificationError("shifts", "the weights are multiplied by other powers of two than in the training")
    if statement.initial_bound != (*(first.initial_bound[p] for p in own), *(last.final_bound[p] for p in own)):
        raise VerificationError("bounds", "the proof relies on other bounds on the weights than the training shows")


def read_comparison(terms: Terms, training: Circuit, statement: Statement) -> Compared:
    """What a verified statement shows. Raises VerificationError where it hides something, or where a limit is not kept."""
    losses, own = statement.losses or (None,) * len(terms.parts), {x.path: x for x in training.parameters}
    found = []
    for i, (part, values) in enumerate(zip(terms.parts, losses, strict=True)):
        if values is None:
            raise VerificationError("comparison", f"what is shown of part {i} is hidden")
        if part.limit is not None and values[0] != 1:
            raise VerificationError("distance", f"the squared distance of part {i} is above its limit")
        found.append(Moved.of(part, own, values[0] if part.limit is None else None))
    return Compared(statement, tuple(found))


def _root(x: Fraction, up: bool) -> Fraction:
    """The square root of x >= 0, to 64 bits after the point, rounded up or down."""
    scaled = (x.numerator << 128) // x.denominator
    root = math.isqrt(scaled)
    exact = root * root * x.denominator == x.numerator << 128
    return Fraction(root + (up and not exact), 1 << 64)


def _decimal(x: Fraction, rounding) -> str:
    """Four to six digits of x > 0, for people: a bound, rounded up or down, stays one."""
    before = math.floor((x.numerator.bit_length() - x.denominator.bit_length()) * math.log10(2)) + 1  # the point, about
    shifted = Fraction(10) ** (5 - before)
    return in_decimals(rounding(x * shifted) / shifted)
