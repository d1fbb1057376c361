"""What proof files and disclosures begin with.

8 bytes   magic: what kind of file it is
2 bytes   format version, little endian
4 bytes   length of the statement, little endian
...       statement: canonical JSON
...       body: to the end of the file

PROTOCOL.md, sections 4.1, 4.6.
"""

import struct
from typing import NamedTuple

from ..errors import FormatError

MAGIC = 8  # bytes
HEADER = MAGIC + 6  # bytes before the statement


class Kind(NamedTuple):
    """magic: eight bytes. most: bytes of a statement. name: with its article; writer: what writes such files; both for people."""

    magic: bytes
    version: int
    most: int
    name: str
    writer: str

    def join(self, statement: bytes, body: bytes) -> bytes:
        """The file."""
        return self.magic + struct.pack("<HI", self.version, len(statement)) + statement + body

    def split(self, raw: bytes, where: str) -> tuple[bytes, bytes]:
        """Statement and body of a file; FormatError, naming it as ``where``, for anything else."""
        if not raw:
            raise FormatError(f"{where}: the file is empty")
        if raw[:MAGIC] != self.magic:
            raise FormatError(f"{where}: not {self.name}; give a file that {self.writer} wrote")
        if len(raw) < HEADER:
            raise FormatError(f"{where}: the file ends inside its header; it was cut off, copy it again")
        version, length = struct.unpack("<HI", raw[MAGIC:HEADER])
        if version != self.version:
            raise FormatError(f"{where}: format version {version}, this zkjax reads version {self.version}")
        if length > self.most or HEADER + length > len(raw):
            raise FormatError(f"{where}: a statement of {length} bytes does not fit the file of {len(raw)} bytes; copy it again")
        return raw[HEADER : HEADER + length], raw[HEADER + length :]
