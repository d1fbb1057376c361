"""Reading .npz files that somebody may have altered: no more memory than their length, and nothing by what a header claims."""

import io
import math
import zipfile
from os import PathLike

import numpy as np

from . import files
from .errors import FormatError
from .progress import size

INTEGERS = "i"  # kinds of NumPy's types
NUMBERS = "biuf"


def read_arrays(path: str | PathLike[str], limit: int, kinds: str = INTEGERS) -> dict[str, np.ndarray]:
    """The arrays of a file that ``numpy.savez`` wrote, by name.

    limit: bytes of a file at most. Raises: OSError - it is not there; FormatError - it cannot be decoded (a damaged archive raises errors
    of many libraries, of the system too), is longer, compressed, or holds arrays of other kinds.
    """
    with files.opened(path) as (file, length):
        if length > limit:
            raise FormatError(f"{path}: {size(length)}, more than the {size(limit)} of memory that it may take")
        try:
            with zipfile.ZipFile(file) as archive:
                entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
                ends = [*(entry.header_offset for entry in entries[1:]), length]
                if any(e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries):
                    raise FormatError(f"{path}: compressed arrays, which could take any amount of memory; write them with numpy.savez")
                if any(e.header_offset + e.file_size > end for e, end in zip(entries, ends, strict=True)):
                    raise FormatError(f"{path}: arrays that overlap, which could take any amount of memory")
                return {entry.filename.removesuffix(".npy"): _array(path, archive.read(entry), kinds) for entry in entries}
        except FormatError:
            raise
        except Exception as error:  # its text may quote the file
            raise FormatError(f"{path}: not a file of arrays ({type(error).__name__})") from None


def _array(path, raw: bytes, kinds: str) -> np.ndarray:
    """The array in the bytes of a .npy file; nothing is allocated by what its header claims."""
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    shape, in_columns, kind = np.lib.format.read_array_header_1_0(stream)
    if version != (1, 0) or kind.kind not in kinds:
        raise FormatError(f"{path}: arrays of {'signed integers' if kinds == INTEGERS else 'real numbers'} are expected")
    if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(raw) - stream.tell():
        raise ValueError("the shape is not that of the entries")
    order = "F" if in_columns else "C"
    return np.frombuffer(raw, dtype=kind, offset=stream.tell()).reshape(shape, order=order)
