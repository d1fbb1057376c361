"""Data as the integers that a circuit reads: floor(x * 2^scale + 1/2), in float64, within the range that the circuit declares.

PROTOCOL.md, section 5.8.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ..algebra import exact
from ..errors import ConfigurationError, DataError
from ..ops.ranges import signed_bound
from .parts import Input


def whole_samples(expected: Input, array: np.ndarray) -> np.ndarray:
    """An array of samples of this input; one of the shape of a batch of one sample is that sample. DataError for another shape."""
    if expected.shape[0] == 1 and array.shape == expected.shape[1:]:
        array = array[None]
    if array.ndim == 0 or array.shape[1:] != expected.shape[1:]:
        raise DataError(f"data '{expected.name}' has shape {array.shape}; expected (samples, {', '.join(map(str, expected.shape[1:]))})")
    return array


def rounded(expected: Input, array: np.ndarray) -> np.ndarray:
    """The integers of this input's values, as float64. DataError, naming the sample, for values that are not finite or out of range."""
    with np.errstate(all="ignore"):  # values beyond float64 become infinite, and beyond the range
        values = array.astype(np.float64)
        finite = np.isfinite(array)
        if not finite.all():
            sample = int(np.argwhere(~finite)[0][0])
            raise DataError(f"data '{expected.name}', sample {sample}: a value is not finite")
        integers = exact.nearest(values, expected.scale)
    check_range(expected, integers, array)
    return integers


def check_range(expected: Input, integers: np.ndarray, array: np.ndarray) -> None:
    """DataError for integers outside the input's range. array: what they were made of, for people."""
    bound, unit = signed_bound(expected.bits + 1), 2.0**-expected.scale
    outside = (integers < -bound) | (integers >= bound)
    if outside.any():
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        value = f"{float(integers[place]) * unit:g}" if np.isfinite(integers[place]) else str(array[place])
        raise DataError(
            f"data '{expected.name}', sample {place[0]}: the value {value} lies outside the declared "
            f"range [{-bound * unit:g}, {bound * unit:g}); scale the data, or trace with "
            f"a larger Precision.data_bits (now {expected.bits})"
        )


def in_order(where, arrays: Mapping[str, np.ndarray], inputs: Sequence[Input]) -> tuple[np.ndarray, ...]:
    """A circuit's inputs among arrays of their names, or of those that ``numpy.savez`` gives to arrays without one.

    where: the file, for people. Raises ConfigurationError for arrays of other names.
    """
    names = [x.name for x in inputs]
    for own in (names, [f"arr_{i}" for i in range(len(names))]):
        if set(arrays) == set(own):
            return tuple(arrays[name] for name in own)
    held = ", ".join(sorted(arrays)) or "nothing"
    raise ConfigurationError(f"{where}: it holds {held}; write {', '.join(names)}, as numpy.savez(path, {names[0]}=..)")
