"""Reading a file that someone else made: an ordinary one, and no more of it than a stated number of bytes. Writing whole ones."""

import hashlib
import io
import json
import os
import stat
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import FormatError

_PART = 2**16  # bytes that are read at once: reading allocates what it is asked for


class Kept(PathLike):
    """A file that has been read, once: whoever opens it by this path gets these bytes, whatever becomes of the file."""

    def __init__(self, path: str | PathLike[str], limit: int):
        self.path, self.content = os.fspath(path), read(path, limit)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def sha256(self) -> str:
        """Of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


@contextmanager
def opened(path: str | PathLike[str]):
    """An ordinary file and its length, to be read.

    A pipe would let its reader wait for ever, a device would fill the memory: they are refused before anything is read.
    Raises: FormatError - no ordinary file; OSError - it cannot be opened.
    """
    if isinstance(path, Kept):
        yield io.BytesIO(path.content), len(path.content)
        return
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe would wait for its writer
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{os.fspath(path)}: not an ordinary file; copy what it holds into one")
        yield file, status.st_size


def read(path: str | PathLike[str], limit: int, magic: bytes = b"") -> bytes:
    """All bytes of an ordinary file of at most ``limit`` bytes; of one that does not begin with ``magic`` no more than so many.

    Sparse files count as they read. Raises: as ``opened``; FormatError - a longer one.
    """
    with opened(path) as (file, length):
        begin = file.read(len(magic))
        if begin != magic:
            return begin
        longer = f"more than {limit:,} bytes, the most that such a file may have"
        if length > limit:
            raise FormatError(f"{os.fspath(path)}: {longer}")
        parts, left = [begin], limit - len(begin)
        while part := file.read(min(_PART, left + 1)):  # it may grow while it is read
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise FormatError(f"{os.fspath(path)}: {longer}")
        return b"".join(parts)


def read_json(path: str | PathLike[str], limit: int) -> Any:
    """The JSON value in a file of at most ``limit`` bytes, as every reader would take it: no key twice in an object, no NaN.

    Raises: as ``read``; FormatError - it is none.
    """
    raw = read(path, limit)
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{os.fspath(path)}: not a JSON file ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _no_number(text: str):
    raise ValueError(f"{text} is no number of JSON")


def publish(path: str | PathLike[str], content: bytes) -> None:
    """Write a public file, whole or not at all."""
    path = Path(path)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def release(private: Path, public: Path) -> None:
    """Move a private file to where everybody may read it, durably: a kill leaves it in one of the two places."""
    os.chmod(private, 0o644)
    os.replace(private, public)
    for directory in (public.parent, private.parent):
        _settle(directory)


def write(path: Path, content) -> None:
    """Replace a private file, durably: a kill leaves the old one or the new one. Only its owner may read it.

    What stands in the new one's place, a leftover or somebody's link to another file, is removed and not written to.
    """
    fresh = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    _settle(path.parent)


def _settle(directory: Path) -> None:
    """Wait until what a directory holds now is on the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
