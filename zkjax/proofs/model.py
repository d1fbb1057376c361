"""Model files: the exact integers of parameters, what an integer 1 is worth, and floats made of them by a rule. safetensors.

    PATH             float32, a parameter's values, for whoever uses the model
    integers/PATH    int64, its exact integers
    metadata "zkjax" canonical JSON: {"format": 1, "circuit": digest of the circuit, "step": how many steps were done,
                     "units": {PATH: [n, d], what an integer 1 is worth, in lowest terms}, "digest": of all integers}

The rule: float32(float64(integer) * float64(n / d)), each of the three roundings to nearest, ties to even. It is what ``Run.params`` gives
where the user's parameters are float32.

PROTOCOL.md, section 4.7.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np

from .. import files
from ..errors import ConfigurationError, FormatError, VerificationError

FORMAT, KEY = 1, "zkjax"
EXACT = "integers/"
LIMIT = 2**34  # bytes of a file
LONGEST = 2**26  # characters of the metadata


@dataclass(frozen=True, eq=False)
class Model:
    """Parameters as a circuit has them: ``zkjax.Run.save_model`` writes such a file, ``load`` reads one.

    circuit:  digest of the circuit, 32 bytes; step: after how many steps. Both are what the file says, until ``zkjax.verify`` has
              compared them.
    integers: by the parameters' paths, int64. units: by path, what an integer 1 is worth.
    """

    circuit: bytes
    step: int
    integers: Mapping[str, np.ndarray] = field(repr=False)
    units: Mapping[str, Fraction] = field(repr=False)

    def __repr__(self) -> str:
        return f"Model({len(self.integers)} arrays after {self.step} steps of circuit {self.circuit.hex()[:16]})"

    def floats(self) -> dict[str, np.ndarray]:
        """The values, float32, by the rule of the module's docstring."""
        return {path: as_float32(x, self.units[path]) for path, x in self.integers.items()}

    @property
    def scales(self) -> dict[str, int]:
        """Bits after the point by path, for ``zkjax.Precision(parameters=)``: of a circuit whose training can begin with these integers."""
        return {path: unit.denominator.bit_length() - unit.numerator.bit_length() for path, unit in self.units.items()}

    def digest(self) -> bytes:
        """SHA-256 of all integers with their paths and shapes."""
        state = hashlib.sha256(b"zkjax model %d\0" % FORMAT)
        for path, x in sorted(self.integers.items()):
            state.update(json.dumps([path, list(x.shape)], separators=(",", ":")).encode() + b"\0")
            state.update(np.ascontiguousarray(x, dtype="<i8"))
        return state.digest()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, whole or not at all. Raises ConfigurationError where safetensors is not installed, or names collide."""
        tensors = self.floats() | {EXACT + name: x for name, x in self.integers.items()}
        if len(tensors) != 2 * len(self.integers):
            raise ConfigurationError(f"a parameter's path begins with {EXACT!r}; rename it, or {EXACT!r} could not tell its integers apart")
        units = {name: [unit.numerator, unit.denominator] for name, unit in self.units.items()}
        told = {"format": FORMAT, "circuit": self.circuit.hex(), "step": self.step, "units": units, "digest": self.digest().hex()}
        whole = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in tensors.items()}
        content = _library().numpy.save(whole, metadata={KEY: json.dumps(told, sort_keys=True, separators=(",", ":"))})
        files.publish(path, content)

    @staticmethod
    def load(path: str | PathLike[str], limit: int = LIMIT) -> "Model":
        """Read such a file of at most ``limit`` bytes. Whether it is the model of any proof is for ``zkjax.verify`` to say.

        Raises: FormatError - malformed, or floats that are not those of the integers; ConfigurationError - safetensors is not installed.
        """
        library, raw = _library(), files.read(path, limit)
        try:
            arrays = library.numpy.load(raw)
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        except Exception as error:  # its text may quote the file
            raise FormatError(f"{path}: not a safetensors file ({type(error).__name__})") from None
        try:
            return _read(header.get("__metadata__", {}).get(KEY), arrays)
        except FormatError as error:
            error.within(str(path))
            raise


def as_float32(integers: np.ndarray, unit: Fraction) -> np.ndarray:
    """Values of integers (int64) of this unit."""
    with np.errstate(over="ignore", under="ignore"):
        return (integers.astype(np.float64) * np.float64(float(unit))).astype(np.float32)


def _library():
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"model files need {error.name}: pip install safetensors, or zkjax[model]") from None
    return safetensors


def _read(text, arrays: dict[str, np.ndarray]) -> Model:
    told: Any = None
    if isinstance(text, str) and len(text) <= LONGEST:
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = None
    if not isinstance(told, dict) or set(told) != {"format", "circuit", "step", "units", "digest"}:
        raise FormatError(f"no metadata {KEY!r} of a model; give a file that Run.save_model wrote")
    if type(told["format"]) is not int or told["format"] != FORMAT:
        raise FormatError(f"model format {told['format']!r:.40}, this zkjax reads {FORMAT}")
    if type(told["step"]) is not int or not 0 <= told["step"] < 2**63:
        raise FormatError(f"step is {told['step']!r:.40}")
    if not isinstance(told["units"], dict):
        raise FormatError("units: expected an object")
    units = {path: _unit(path, unit) for path, unit in told["units"].items()}
    if set(arrays) != {name for path in units for name in (path, EXACT + path)}:
        raise FormatError(f"its tensors are not those of its units, PATH and {EXACT}PATH for each")
    integers = {path: arrays[EXACT + path] for path in units}
    for path, x in integers.items():
        if x.dtype != np.int64:
            raise FormatError(f"{EXACT}{path} is {x.dtype}, expected int64")
    model = Model(_digest(told["circuit"], "circuit"), told["step"], integers, units)
    if model.digest() != _digest(told["digest"], "digest"):
        raise FormatError("its integers have another digest than it says; it was altered, copy it again")
    for path, x in model.floats().items():
        found = arrays[path]
        if found.dtype != np.float32 or found.shape != x.shape or found.tobytes() != x.tobytes():
            raise FormatError(f"{path} is not what its integers give as float32, bit for bit")
    return model


def _unit(path: str, value) -> Fraction:
    """A reduced fraction above 0 that float64 holds as such."""
    if not isinstance(value, list) or [type(x) for x in value] != [int, int] or not all(0 < x < 2**512 for x in value):
        raise FormatError(f"unit of {path!r:.80} is {value!r:.80}, expected [n, d]")
    unit = Fraction(*value)
    if [unit.numerator, unit.denominator] != value:
        raise FormatError(f"unit of {path!r:.80} is not in lowest terms")
    return unit


def _digest(value, name: str) -> bytes:
    if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
        raise FormatError(f"{name} is not 32 bytes in lower-case hex")
    return bytes.fromhex(value)


def integers_of(model: Model, circuit, shifts: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The committed integers of a circuit's parameters, without the states that it gives, by number: those of the model over 2^shift.

    Raises VerificationError where the model is not one of this circuit's, or its integers are none that could be committed.
    """
    own = {x.path: p for p, x in enumerate(circuit.parameters) if x.given is None}
    if model.circuit != circuit.digest():
        raise VerificationError("model", f"its circuit has the digest {model.circuit.hex()}, not that of the proofs")
    if set(model.integers) != set(own):
        raise VerificationError("model", f"it holds {_named(model.integers)}, the circuit's parameters are {_named(own)}")
    found = {}
    for path, p in own.items():
        x, shift = model.integers[path], shifts[p]
        if x.shape != circuit.parameters[p].shape or model.units[path] != circuit.unit(p):
            raise VerificationError("model", f"{path} has another shape or unit than in the circuit")
        if not ((x >= -(2**62)) & (x < 2**62)).all():  # further ones could be others modulo p
            raise VerificationError("model", f"{path} holds an integer beyond 62 bits")
        found[p] = x >> shift
        if not np.array_equal(found[p] << shift, x):
            raise VerificationError(
                "model", f"{path} holds an integer that is no multiple of 2^{shift}, as those behind the commitment are"
            )
    return found


def _named(paths) -> str:
    shown = sorted(paths)
    return f"{len(shown)} arrays ({', '.join(shown[:3])}{', ..' * (len(shown) > 3)})"
