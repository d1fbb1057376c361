"""Drawings: which parameters are drawn from a public key, by which distributions. Whoever has one draws them again, bit by bit. JSON.

    format      1
    seed        0 .. 2^32-1: the key is that of jax.random.key(seed)
    parameters  {PATH: [distribution, its numbers ..]}

    constant c                each entry
    uniform low high          between these
    normal s                  of mean 0 and standard deviation s
    truncated_normal s        the same, without what is beyond 2 s: jax.nn.initializers' lecun_normal and its like, with s for their stddev

The key of a parameter is folded from the seed's by its number, among the drawing's paths in ascending order; its words are those of
jax.random.bits. Values are float32, from tables of integers (``algebra.normal``) and products and sums of float64 that all machines round
alike, so none draws others.

PROTOCOL.md, section 4.9.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike

import numpy as np

from .. import files
from ..algebra import exact, threefry
from ..algebra.normal import LOG_ENTRIES, SCALE, quantiles
from ..errors import ConfigurationError, FormatError, VerificationError
from ..work import CALL, DRAWN, PASSING, Meter

FORMAT = 1
LIMIT = 2**26  # bytes of a file
SEEDS = 2**32
NUMBERS = {"constant": 1, "uniform": 2, "normal": 1, "truncated_normal": 1}  # how many each distribution has
LARGEST = 2.0**64  # of their absolute values; the least above 0 is its inverse: float32 holds what is drawn with all its bits
MAX_ENTRIES = 2**31  # of a parameter
KEPT = 12  # bytes of an entry: its float32, and the integer that becomes of it


@dataclass(frozen=True)
class Drawing:
    """First parameters as drawn from a public key: ``zkjax.draw`` makes one, ``zkjax.verify`` compares it with a commitment.

    seed: of the key, ``jax.random.key(seed)``, 0 .. 2^32-1. parameters: by path (distribution, its numbers ..): ("constant", c),
    ("uniform", low, high), ("normal", stddev) or ("truncated_normal", stddev). Raises FormatError for anything else.
    """

    seed: int
    parameters: Mapping[str, tuple]

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < SEEDS:
            raise FormatError(f"seed is {self.seed!r:.80}, expected an integer from 0 to 2^32 - 1")
        if not isinstance(self.parameters, Mapping) or not self.parameters:
            raise FormatError("parameters: expected an object of at least one path")
        for path, value in self.parameters.items():
            _check_distribution(path, value)

    def __repr__(self) -> str:
        return f"Drawing({len(self.parameters)} parameters from key {self.seed})"

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, whole or not at all. It is public."""
        told = {"format": FORMAT, "seed": self.seed, "parameters": {name: [*self.parameters[name]] for name in sorted(self.parameters)}}
        files.publish(path, (json.dumps(told, indent=1) + "\n").encode())

    @staticmethod
    def load(path: str | PathLike[str]) -> "Drawing":
        """Read such a file; FormatError names what is wrong with it. Whether anything was drawn so is for ``zkjax.verify`` to say."""
        told = files.read_json(path, LIMIT)
        try:
            return _read(told)
        except FormatError as error:
            error.within(str(path))
            raise

    def floats(self, shapes: Mapping[str, tuple[int, ...]], meter: Meter | None = None) -> dict[str, np.ndarray]:
        """The values, float32, by path. shapes: of these paths. meter: is charged before anything is drawn."""
        found, key = {}, (np.uint32([0]), np.uint32([self.seed]))
        for number, path in enumerate(sorted(self.parameters)):
            size = prod(shapes[path])
            if meter is not None:
                meter.charge("drawn weights", CALL * (1 + len(shapes[path])) + 2 * DRAWN * size, KEPT * size, PASSING * size)
            if size >= MAX_ENTRIES:
                raise FormatError(f"{path} has {size:,} entries; fewer than 2^31 are drawn from one key")
            own = np.stack(threefry.fold_in(key, np.uint32([number])), axis=-1)
            found[path] = _values(own, size, *self.parameters[path]).astype(np.float32).reshape(shapes[path])
        return found

    def within(self, paths) -> "Drawing":
        """The same, as of parameters of these paths: where all of its own stand below one of them, ``params/``, with that before them.

        Their order stays, and so does what is drawn. Raises ConfigurationError where no such paths hold all of its own.
        """
        paths, first = set(paths), next(iter(self.parameters))
        for path in sorted(paths, key=len):
            above = path.removesuffix(first)
            if path.endswith(first) and (not above or above.endswith("/")) and all(above + x in paths for x in self.parameters):
                return Drawing(self.seed, {above + x: value for x, value in self.parameters.items()})
        raise ConfigurationError(f"drawing: it is of {_some(self.parameters)}, the circuit's parameters are {_some(paths)}")

    def others(self, circuit) -> list[str]:
        """Paths of the circuit's parameters that are not drawn."""
        return [x.path for x in circuit.parameters if x.given is None and x.path not in self.parameters]

    def describe(self) -> dict[str, list[str]]:
        """For people: the paths of each distribution."""
        found: dict[str, list[str]] = {}
        for path, (name, *numbers) in sorted(self.parameters.items()):
            found.setdefault(" ".join([name.replace("_", " "), *(repr(x).removesuffix(".0") for x in numbers)]), []).append(path)
        return found


def _values(key: np.ndarray, size: int, name: str, *numbers: float) -> np.ndarray:
    """float64 (size,) of a parameter's key (1, 2): each operation rounds to nearest, and none is left to a library's taste."""
    if name == "constant":
        return np.full(size, numbers[0], dtype=np.float64)
    words = threefry.bits(key, size)[0]
    if name == "uniform":
        low, high = map(float, numbers)
        return low + (high - low) * ((2 * words.astype(np.float64) + 1) * 2.0**-33)
    table = quantiles(truncated=name == "truncated_normal")
    return table[words >> np.uint32(32 - LOG_ENTRIES)] * float(numbers[0]) * 2.0**-SCALE


def drawn_integers(drawing: Drawing, circuit, shifts: tuple[int, ...], meter: Meter) -> dict[int, np.ndarray]:
    """What a drawing says of committed integers, int64, by number: those that its values are rounded to, over 2^shift.

    Raises VerificationError for paths that are none of the circuit's, integers that cannot be committed, and a shift that rounds away more
    than the largest tables hold: one that is large enough makes all integers 0, whatever was drawn.
    """
    own = {x.path: p for p, x in enumerate(circuit.parameters) if x.given is None}
    if not set(drawing.parameters) <= set(own):
        raise VerificationError("drawing", f"it is of {_some(set(drawing.parameters) - set(own))}, and the circuit's are {_some(own)}")
    found = {}
    for path, x in drawing.floats({path: circuit.parameters[own[path]].shape for path in drawing.parameters}, meter).items():
        p = own[path]
        unit, scale = circuit.scale(p)
        integers = exact.nearest(x.astype(np.float64) / unit, scale - shifts[p])
        largest = np.abs(integers).max()
        if not largest < 2.0**62:
            raise VerificationError("drawing", f"{path} becomes an integer beyond 62 bits")
        if shifts[p] and largest < 2.0 ** (circuit.table_bits - 2):
            raise VerificationError("drawing", f"{path}, as drawn, is not rounded so coarsely as to multiples of 2^{shifts[p]}")
        found[p] = integers.astype(np.int64)
    return found


def _read(told) -> Drawing:
    if not isinstance(told, dict) or set(told) != {"format", "seed", "parameters"}:
        raise FormatError("expected an object with the keys format, seed, parameters; Drawing.save writes one")
    if type(told["format"]) is not int or told["format"] != FORMAT:
        raise FormatError(f"drawing format {told['format']!r:.40}, this zkjax reads {FORMAT}")
    if not isinstance(told["parameters"], dict):
        raise FormatError("parameters: expected an object of at least one path")
    lists = {path: tuple(value) if isinstance(value, list) else value for path, value in told["parameters"].items()}
    return Drawing(told["seed"], lists)


def _check_distribution(path, value) -> None:
    """(name, numbers ..), of numbers that float32 holds with all its bits."""
    if not isinstance(path, str):
        raise FormatError(f"parameters: the path {path!r:.80} is no text")
    if not isinstance(value, tuple) or not value or not isinstance(value[0], str) or value[0] not in NUMBERS:
        raise FormatError(f"{path!r:.80}: the distribution {value!r:.80}; known are {', '.join(NUMBERS)}")
    name, *numbers = value
    for x in numbers:
        if type(x) not in (int, float) or not (x == 0 or 1 / LARGEST <= abs(x) <= LARGEST):
            raise FormatError(f"{path!r:.80}: {x!r:.40} is no number of a distribution, 0 or from 2^-64 to 2^64 in absolute value")
    if len(numbers) != NUMBERS[name]:
        raise FormatError(f"{path!r:.80}: {name} with {len(numbers)} numbers; it has {NUMBERS[name]}")
    if name == "uniform" and not numbers[0] < numbers[1]:
        raise FormatError(f"{path!r:.80}: uniform between {numbers[0]} and {numbers[1]}; the lower bound comes first")
    if name.endswith("normal") and numbers[0] <= 0:
        raise FormatError(f"{path!r:.80}: {name} with the standard deviation {numbers[0]}; it is above 0")


def _some(paths) -> str:
    shown = sorted(paths)
    return f"{', '.join(shown[:3])}{', ..' * (len(shown) > 3)}" if shown else "nothing"
