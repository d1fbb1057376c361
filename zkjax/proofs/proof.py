"""Proof files: a header (``header.py``), the statement in canonical form (``statement.py``), and the body that the verifier reads message
by message. Every size in the body follows from the statement and the circuit.

PROTOCOL.md, section 4.1.
"""

import math
from dataclasses import dataclass, field
from os import PathLike

from .. import files
from ..display import Sheet, Shown
from ..errors import FormatError
from .alone import LinkStatement
from .header import Kind
from .soundness import Security
from .statement import Statement

MAGIC = b"zkjaxprf"
VERSION = 2
MAX_STATEMENT = 2**21  # bytes
FILE = Kind(MAGIC, VERSION, MAX_STATEMENT, "a zkjax proof", "Proof.save")
MAX_FILE = 2**28  # bytes: proofs of nets with millions of weights take tens of millions


@dataclass(frozen=True)
class Proof(Shown):
    """A statement, of a chunk or of links alone, and the bytes that prove it.

    ``security``: its ledger, as its prover has it; None once loaded (``zkjax.ledger``).
    """

    statement: Statement | LinkStatement
    body: bytes
    security: Security | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Proof({self.nbytes} bytes: {self.statement!r})"

    def __bytes__(self) -> bytes:
        return FILE.join(self.statement.canonical(), self.body)

    @property
    def nbytes(self) -> int:
        """Length of the file."""
        return len(bytes(self))

    @property
    def place(self) -> float:
        """Its first step, by which the proofs of a chain are put in order; links alone come last."""
        return getattr(self.statement, "first_step", math.inf)

    def sheet(self) -> Sheet:
        """The claim; whether it holds is for ``zkjax.verify`` to say."""
        statement = self.statement.sheet()
        security = () if self.security is None else self.security.sheet().parts
        title = f"Proof of {self.nbytes:,} bytes; what it claims, not verified by showing it"
        return Sheet(title, (statement.title, *statement.parts, *security))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the proof file, whole or not at all. It is public."""
        files.publish(path, bytes(self))

    @staticmethod
    def load(path: str | PathLike[str]) -> "Proof":
        """Read a proof file; FormatError if it is not one. Nothing is verified here."""
        return Proof.parse(files.read(path, MAX_FILE, MAGIC), str(path))

    @staticmethod
    def parse(raw: bytes, where: str = "proof") -> "Proof":
        """The proof in these bytes."""
        statement, body = FILE.split(raw, where)
        try:
            kind = LinkStatement if b'"kind":"link"' in statement else Statement  # which no commitment's kind is
            return Proof(kind.parse(statement), body)
        except FormatError as error:
            error.within(where)
            raise
