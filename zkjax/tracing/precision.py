"""What a user may set: the fixed-point formats of a circuit and the security parameters of a proof."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..circuit.file import MAX_PERIOD
from ..errors import ConfigurationError, FormatError

MAX_FILE = 2**24  # bytes of a precision file
MAX_SCALE = 62  # bits after the point, and before it, of a tensor or a parameter


class StateFormat(NamedTuple):
    """Of a state that a step multiplies: integers h in [-2^bits, 2^bits), h * u * 2^-scale its value (u in [1, 2), from the optimizer).

    inner: bits after h's unit that it has within a period of steps. end: bits of a period's sum that rounding drops.
    """

    scale: int
    bits: int
    inner: int
    end: int


class TensorFormat(NamedTuple):
    """Of a rounded tensor: integers in [-2^bits, 2^bits), times u * 2^-scale its values (u in [1, 2), from the learning rate, of
    gradients; 1 of others)."""

    scale: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Fixed-point formats; None lets ``zkjax.trace`` choose from the batch and parameters that it is given, and make what it
    chose coarser where bounds would leave the field. ``Circuit.precision`` holds all that was chosen: its file belongs to the recipe.

    activation_scale: bits after the point of activations and data, 1 to 24; default: 8, or fewer; of a tensor whose values on the batch
                      leave more than 3 bits of the range unused more, and fewer where they leave less than 2.
    activation_bits:  activations are integers in [-2^bits, 2^bits): range 2^(bits - scale). 1 to 19; default: 3 more than the default
                      scale, or, with a scale that is given, more where the batch's values would have less than two bits of headroom.
    gradient_scale:   bits after the point of gradients, 0 to 62; default: a range of +-4 divided by the loss's mean divisor; of a tensor
                      whose values on the batch leave more than 5 bits of the range unused more, and fewer where they leave less than 2.
    gradient_bits:    as activation_bits, for gradients. 1 to 19; default: 13, or more as there.
    data_bits:        bits of each input array, in the loss function's order, 1 to 19; default: from the batch, with one spare bit.
    tensors:          formats (scale, bits) of single tensors, by the names that the circuit's printout shows for arrays of the batch and
                      for what is rescaled; the others have the formats above. Scales -62 to 62 (an array's at least 0), 1 to 19 bits.
    parameters:       bits after the point of parameters by path, -62 to 62: of those that no step multiplies, which have more where their
                      updates need more. Default: what the updates need; of frozen ones 14 for the largest value.
    rate_tolerance:   relative error allowed in rounding the rates of a schedule, below 1, to multiples of a power of two times the
                      largest rate, which is kept within 2^-12. Rates below a sixteenth of the largest may be off by this share
                      of that sixteenth, and become 0. Short binary fractions stay exact.
    step_tolerance:   distance of the first two steps from your own, relative to their length, 0 to 1, that is near enough: default formats
                      become finer where that brings these steps nearer for what it costs, but no nearer than this. Adaptive optimizers
                      are costly to follow closely: a small gradient's sign counts as much as a large one's.
    states:           formats by path of states that a step multiplies: moments, averages, weights that decay. A weight that need not be
                      rounded is, if it is named here. Default: from the changes that the batch makes, resolved with 14 bits.
    period:           the number of steps after which such states are rounded, 1 to 64; default: the planned chunk, at most 16.
    table_bits:       width of the largest lookup table, 4 to 20; default: the cheapest for the planned chunk.
    """

    activation_scale: int | None = None
    activation_bits: int | None = None
    gradient_scale: int | None = None
    gradient_bits: int | None = None
    data_bits: tuple[int, ...] | None = None
    rate_tolerance: float = 0.05
    step_tolerance: float = 2.0**-8
    table_bits: int | None = None
    tensors: Mapping[str, TensorFormat] | None = None
    parameters: Mapping[str, int] | None = None
    states: Mapping[str, StateFormat] | None = None
    period: int | None = None

    def __post_init__(self) -> None:
        ranges = (("activation_scale", 1, 24), ("activation_bits", 1, 19), ("gradient_scale", 0, MAX_SCALE), ("gradient_bits", 1, 19))
        for name, low, high in ranges:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigurationError(f"{name} is {value}; choose {low} to {high}")
        if self.data_bits is not None:
            object.__setattr__(self, "data_bits", tuple(self.data_bits))
            if not all(1 <= b <= 19 for b in self.data_bits):
                raise ConfigurationError(f"data_bits is {self.data_bits}; choose 1 to 19 bits for each array of the batch")
        if not 0 <= self.rate_tolerance < 1:
            raise ConfigurationError(f"rate_tolerance is {self.rate_tolerance}; choose at least 0 and less than 1")
        if not 0 <= self.step_tolerance <= 1:
            raise ConfigurationError(f"step_tolerance is {self.step_tolerance}; choose 0 to 1")
        if self.tensors is not None:
            self._check_tensors(self.tensors)
        if self.parameters is not None:
            self._check_parameters(self.parameters)
        if self.states is not None:
            self._check_states(self.states)
        if self.period is not None and not 1 <= self.period <= MAX_PERIOD:
            raise ConfigurationError(f"period is {self.period}; choose 1 to {MAX_PERIOD}")
        if self.table_bits is not None and not 4 <= self.table_bits <= 20:
            raise ConfigurationError(f"table_bits is {self.table_bits}; choose 4 to 20")

    def _check_tensors(self, tensors) -> None:
        try:
            found = {str(name): TensorFormat(*map(int, x)) for name, x in dict(tensors).items()}
        except (TypeError, ValueError):
            raise ConfigurationError("tensors: give {name: (scale, bits)}, two integers for each name") from None
        for name, x in found.items():
            if not (abs(x.scale) <= MAX_SCALE and 1 <= x.bits <= 19):
                raise ConfigurationError(f"the format of tensor {name} is {tuple(x)}; choose a scale of -62 to 62, and 1 to 19 bits")
        object.__setattr__(self, "tensors", found)

    def _check_parameters(self, parameters) -> None:
        try:
            found = {str(path): int(scale) for path, scale in dict(parameters).items()}
        except (TypeError, ValueError):
            raise ConfigurationError("parameters: give {path: scale}, an integer for each path") from None
        for path, scale in found.items():
            if abs(scale) > MAX_SCALE:
                raise ConfigurationError(f"the scale of parameter {path} is {scale}; choose -62 to 62")
        object.__setattr__(self, "parameters", found)

    def _check_states(self, states) -> None:
        try:
            found = {str(path): StateFormat(*map(int, x)) for path, x in dict(states).items()}
        except (TypeError, ValueError):
            raise ConfigurationError("states: give {path: (scale, bits, inner, end)}, four integers for each path") from None
        for path, x in found.items():
            if not (-64 <= x.scale <= 62 and 1 <= x.bits <= 60 and 0 <= x.inner <= 62 and 0 <= x.end <= 62):
                raise ConfigurationError(
                    f"the format of state {path} is {tuple(x)}; choose a scale of -64 to 62, 1 to 60 bits, inner and end of 0 to 62"
                )
        object.__setattr__(self, "states", found)

    @property
    def complete(self) -> bool:
        """Whether every format is given, so that nothing follows from data."""
        return None not in vars(self).values()

    @property
    def untouched(self) -> bool:
        """Whether no format of a tensor is given."""
        given = (self.activation_scale, self.activation_bits, self.gradient_scale, self.gradient_bits, self.data_bits, self.tensors)
        return all(x is None for x in given)

    def to_json(self) -> dict[str, Any]:
        """The documented form of a precision file: one key for each field, null for what is left open."""
        formats = {name: getattr(self, name) for name in ("tensors", "states")}
        return asdict(self) | {name: x and {key: y._asdict() for key, y in x.items()} for name, x in formats.items()}

    def save(self, path: str | PathLike[str]) -> None:
        """Write it as readable JSON: with the source and the shapes, it lets an auditor make the same circuit."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: str | PathLike[str]) -> "Precision":
        """Read a file of ``save``; FormatError, ConfigurationError name what is wrong with it."""
        try:
            found = json.loads(files.read(path, MAX_FILE))
            if not isinstance(found, dict) or not set(found) <= {x.name for x in fields(Precision)}:
                raise ValueError(f"keys {sorted(found)!s:.200}" if isinstance(found, dict) else "no object")
            for field, kind in (("tensors", TensorFormat), ("states", StateFormat)):
                if found.get(field) is not None:
                    found[field] = {name: [x[part] for part in kind._fields] for name, x in found[field].items()}
            return Precision(**found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(f"{path}: not a precision file ({type(error).__name__}: {error})") from None
