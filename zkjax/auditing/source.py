"""Where a fine-tuning began: its first weights beside a model that somebody published, integer by integer.

The first weights are tied to the training's first commitment (``initial.safetensors``). The source is a file: what it is says its SHA-256,
which its owner publishes, or the folder of its own training.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..circuit.circuit import Circuit
from ..errors import VerificationError
from ..proofs.model import Model
from ..proofs.statement import Statement

MOST = Fraction(1, 32)  # of a tensor's largest weight: who drops more bits than that has another model


@dataclass(frozen=True)
class Begun:
    """What first weights have of a source. off: the largest difference of a value over the largest value of its tensor, 0 where all are the
    same. new: paths of parameters that the source has not."""

    off: Fraction
    new: tuple[str, ...]

    def __str__(self) -> str:
        """For people, after "the model in FILE"."""
        rounded = f", rounded by at most {float(self.off):.2g} of a tensor's largest weight" if self.off else ""
        return f"{rounded}, with {', '.join(self.new)} anew" if self.new else rounded


def begun(circuit: Circuit, first: Statement, initial: Model, source: Model) -> Begun:
    """Compare first weights with a source's, by the parameters' paths.

    initial: verified to stand behind ``first``'s initial commitment. Raises VerificationError where a value is further from the source's
    than the unit that the first weights are rounded to, 2^shift times that of the parameter, or than ``MOST`` of the largest one.
    """
    numbers, off, new = {x.path: p for p, x in enumerate(circuit.parameters)}, Fraction(0), []
    for path, x in initial.integers.items():
        y = source.integers.get(path)
        if y is None:
            new.append(path)
            continue
        if x.shape != y.shape:
            raise VerificationError("source", f"{path} has the shape {x.shape}, in the source {y.shape}")
        unit = initial.units[path]
        found, largest = _largest_difference(x, unit, y, source.units[path]), _largest(y) * source.units[path]
        if found > min(unit * 2 ** first.shifts[numbers[path]], MOST * largest):
            raise VerificationError("source", f"{path} differs by {float(found):g} from the source's, which is more than rounding does")
        off = max(off, found / largest if found else Fraction(0))
    if len(new) == len(initial.integers):
        raise VerificationError("source", "the first weights have no parameter of the source's")
    return Begun(off, tuple(new))


def _largest_difference(x: np.ndarray, unit: Fraction, y: np.ndarray, other: Fraction) -> Fraction:
    """The largest |unit * x - other * y|, exactly: of all entries where that fits 64 bits, else one by one."""
    fine = Fraction(1, unit.denominator * other.denominator)  # both units are multiples of it
    a, b = int(unit / fine), int(other / fine)
    common = math.gcd(a, b)
    a, b, fine = a // common, b // common, fine * common
    bound = a * _largest(x) + b * _largest(y)
    kind = np.int64 if bound < 2**63 else object
    return fine * int(np.abs(x.astype(kind) * a - y.astype(kind) * b).max())


def _largest(x: np.ndarray) -> int:
    return max(abs(int(x.min())), abs(int(x.max())))
