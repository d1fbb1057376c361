"""The arrays that a file of published data holds."""

from collections.abc import Sequence

import numpy as np

from ..arrays import NUMBERS, read_arrays
from ..circuit.circuit import Circuit
from ..circuit.data import in_order
from ..proofs.disclosure import Disclosure


def data_in(file, limit: int, circuit: Circuit, disclosures: Sequence[Disclosure]) -> tuple[np.ndarray, ...]:
    """In the order of the circuit's inputs: of all, or of those that the first disclosure of a dataset is of.

    limit: bytes of the file at most. Raises: OSError, FormatError - as ``read_arrays``; ConfigurationError - arrays of other names.
    """
    shown = next((x for x in disclosures if x.dataset is not None), None)
    numbers = range(len(circuit.inputs)) if shown is None else shown.inputs(circuit.inputs)
    return in_order(file, read_arrays(file, limit, NUMBERS), [circuit.inputs[k] for k in numbers])
