"""The data as the integers that a circuit reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..circuit.circuit import Circuit
from ..circuit.data import check_range, rounded, whole_samples
from ..circuit.rounding import Rounding
from ..errors import DataError
from ..protocol.schedule import steps_per_epoch
from ..tracing.arguments import NOTHING, as_array


@dataclass(frozen=True, eq=False)
class Dataset:
    """The data as integers: ``arrays[i]`` int64 of shape (samples, ...), for input i of the circuit.

    The arrays are read-only and its own, copied if need be: what is committed to must not change between two proofs.
    roundings: what rounding did to each of them, where they were made from values.
    """

    arrays: tuple[np.ndarray, ...] = field(repr=False)
    roundings: tuple[Rounding, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", tuple(_owned(x) for x in self.arrays))

    def __repr__(self) -> str:  # never a value
        return f"Dataset({self.samples} samples: {', '.join(str(x.shape[1:]) for x in self.arrays)})"

    @property
    def samples(self) -> int:
        return len(self.arrays[0])

    @staticmethod
    def of(circuit: Circuit, data: "Sequence[Any] | Dataset | None") -> "Dataset":
        """Round data to the circuit's integers: floor(x * 2^scale + 1/2), in float64. A Dataset is checked and returned.

        data: a tuple of arrays in the order of the loss function's arguments, samples first; the arrays themselves where the circuit was
        traced with ``full_batch``; () for a program without data.
        Raises: DataError - number of arrays, shape, dtype, a value that is not finite or out of range (names the sample).
        """
        integral = isinstance(data, Dataset)
        arrays = data.arrays if isinstance(data, Dataset) else data
        if isinstance(arrays, (tuple, list)) and not arrays and [x.name for x in circuit.inputs] == [NOTHING]:
            arrays = (np.zeros(circuit.inputs[0].shape),)
        if not isinstance(arrays, (tuple, list)) or len(arrays) != len(circuit.inputs):
            names = ", ".join(x.name for x in circuit.inputs)
            given = f"{len(arrays)} arrays" if isinstance(arrays, (tuple, list)) else f"a {type(arrays).__name__}"
            raise DataError(f"the circuit reads {len(circuit.inputs)} arrays ({names}), data is {given}; give a tuple of as many arrays")
        result: list[np.ndarray] = []
        roundings = []
        for expected, array in zip(circuit.inputs, arrays, strict=True):
            array = as_array(array, f"data '{expected.name}'")
            if integral and array.dtype != np.int64:
                raise DataError(f"data '{expected.name}' has dtype {array.dtype}; a Dataset holds int64")
            array = whole_samples(expected, array)
            if result and len(array) != len(result[0]):
                raise DataError(f"data '{expected.name}' has {len(array)} samples, '{circuit.inputs[0].name}' has {len(result[0])}")
            if integral:
                check_range(expected, array, array)
                result.append(array)
            else:
                result.append(rounded(expected, array))
                exact = np.ldexp(array.astype(np.float64), expected.scale)
                found = Rounding.of(f"data '{expected.name}'", exact, result[-1])
                roundings.append(found.of_input(expected, float(np.abs(exact).max(initial=0.0))))
        steps_per_epoch(len(result[0]), circuit.batch_size)
        return data if isinstance(data, Dataset) else Dataset(tuple(_frozen(x.astype(np.int64)) for x in result), tuple(roundings))


def _frozen(array: np.ndarray) -> np.ndarray:
    """This array, from now on read-only."""
    array.flags.writeable = False
    return array


def _owned(array: np.ndarray) -> np.ndarray:
    """A read-only array that nobody else can write to: this one, or a copy."""
    alone = not array.flags.writeable and array.base is None
    return array if alone else _frozen(np.array(array))
