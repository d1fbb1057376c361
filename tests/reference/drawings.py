"""Section 4.9 of PROTOCOL.md by the page alone: Python's numbers, one entry at a time, and SciPy's quantiles. Nothing of zkjax."""

import math
import struct
from fractions import Fraction

from scipy.special import ndtr, ndtri

from .verifier import threefry


def float32(x: float) -> float:
    return struct.unpack("<f", struct.pack("<f", x))[0]


def quantile(i: int, truncated: bool) -> int:
    """Q[i]."""
    below = float(ndtr(-2.0)) if truncated else 0.0
    scaled = 2**20 * float(ndtri(below + (1 - 2 * below) * (2 * i + 1) / 2**17))
    assert abs(scaled - math.floor(scaled) - 0.5) > 2**-18
    return round(scaled)


def value(word: int, name: str, *numbers) -> float:
    """x."""
    numbers = [float(v) for v in numbers]
    if name == "constant":
        x = numbers[0]
    elif name == "uniform":
        low, high = numbers
        x = low + (high - low) * ((2 * word + 1) * 2.0**-33)
    else:
        x = (quantile(word >> 16, name == "truncated_normal") * numbers[0]) * 2.0**-20
    return float32(x)


def drawn(told: dict, sizes: dict[str, int]) -> dict[str, list[float]]:
    """The values of each path, row-major; told: a drawing's file, read."""
    found = {}
    for n, path in enumerate(sorted(told["parameters"])):
        key = threefry((0, told["seed"]), (0, n))
        words = [threefry(key, (0, j)) for j in range(sizes[path])]
        found[path] = [value(a ^ b, *told["parameters"][path]) for a, b in words]
    return found


def integer(x: float, unit: Fraction, shift: int) -> int:
    """What is committed, over 2^shift."""
    mantissa, exponent = math.frexp(unit)
    return math.floor(math.ldexp(x / (2 * mantissa), 1 - exponent - shift) + 0.5)
