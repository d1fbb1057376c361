"""Reading a file that someone else made: an ordinary one, and no more of it than a stated number of bytes."""

import os
import stat
from os import PathLike

from .errors import FormatError


def read(path: str | PathLike[str], limit: int, magic: bytes = b"") -> bytes:
    """All bytes of an ordinary file of at most ``limit`` bytes; of one that does not begin with ``magic`` no more than so many.

    A pipe would let its reader wait for ever, a device or a sparse file would fill the memory: they are refused before
    anything is read. Raises: FormatError - no ordinary file, or a longer one; OSError - it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe would wait for its writer
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{os.fspath(path)}: not an ordinary file; copy what it holds into one")
        raw = file.read(len(magic))
        if raw != magic:
            return raw
        raw += file.read(limit + 1 - len(magic)) if status.st_size <= limit else b""
        if status.st_size > limit or len(raw) > limit:  # or it grows while it is read
            raise FormatError(f"{os.fspath(path)}: more than {limit:,} bytes, the most that such a file may have")
        return raw
