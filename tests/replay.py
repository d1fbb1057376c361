"""What a verifier does with altered files, message by message, with fresh challenges and with those of the honest proof.

NumPy and the verifier only. A replay shows which refusals come from equations: with the honest proof's challenges nothing
is refused because another transcript draws other challenges.
"""

from typing import NamedTuple
from unittest import mock

import numpy as np

import zkjax
import zkjax.verifier
from zkjax.errors import FormatError, VerificationError
from zkjax.protocol.transcript import Reader, Transcript

BITS = 5.0  # below any geometry of the tests


_estimate_work, _ESTIMATED = zkjax.verifier.estimate_work, {}


def estimated_once(circuit, statements, max_work, max_memory):
    """``verifier.estimate_work``: of files that differ in their bodies alone it says the same."""
    key = circuit.digest(), *(s.canonical() for s in statements), max_work, max_memory
    if key not in _ESTIMATED:
        _ESTIMATED[key] = _estimate_work(circuit, statements, max_work, max_memory)
    return _ESTIMATED[key]


def outcome(circuit, raw: bytes, minimum_bits: float = BITS, **options) -> tuple | None:
    """None if the file verifies, else the error's class and check; any other exception is the test's failure."""
    try:
        with mock.patch.object(zkjax.verifier, "estimate_work", estimated_once):
            zkjax.verify(circuit, zkjax.Proof.parse(raw), minimum_bits=minimum_bits, **options)
    except VerificationError as error:
        return VerificationError, error.check
    except FormatError:
        return FormatError, None
    return None


class Message(NamedTuple):
    """One message of a proof's body."""

    label: str
    offset: int
    size: int

    @property
    def is_digests(self) -> bool:
        """Bytes; all other messages are field elements of 8 bytes each."""
        return self.label in ("trace root", "level root", "salts", "siblings")

    def cut(self, body: bytes) -> bytes:
        return body[self.offset : self.offset + self.size]

    def replaced(self, body: bytes, content: bytes) -> bytes:
        return body[: self.offset] + content + body[self.offset + self.size :]


def messages(circuit, proof) -> list[Message]:
    """The messages of a valid proof, in order, as the verifier reads them."""
    log = []

    class Logging(Reader):
        def _take(self, label, size):
            log.append(Message(label, self._at, size))
            return super()._take(label, size)

    original, zkjax.verifier.Reader = zkjax.verifier.Reader, Logging
    try:
        zkjax.verify(circuit, proof, assume_bound=True, minimum_bits=BITS)
    finally:
        zkjax.verifier.Reader = original
    assert sum(m.size for m in log) == len(proof.body)
    return log


def words(content: bytes) -> list[int]:
    """The 64-bit words of some messages."""
    return np.frombuffer(content, dtype="<u8").tolist()


class Frozen:
    """Runs a verifier whose challenges are those of the honest proof, whatever it has read."""

    def __init__(self, circuit, proof, minimum_bits: float = BITS):
        self.record: list = []
        self.minimum_bits = minimum_bits
        frozen = self

        class Recording(Transcript):
            def challenge(self, label):
                return frozen._noted(label, 1, super().challenge(label))

            def challenges(self, label, count):
                return frozen._noted(label, count, super().challenges(label, count))

            def indices(self, label, count, log_size):
                return frozen._noted(label, count, super().indices(label, count, log_size))

        class Replaying(Transcript):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.next = iter(frozen.record)

            def challenge(self, label):
                return self._replayed(label, 1)

            def challenges(self, label, count):
                return self._replayed(label, count)

            def indices(self, label, count, log_size):
                return [i % 2**log_size for i in self._replayed(label, count)]

            def _replayed(self, label, count):
                recorded = next(self.next, None)
                if recorded is None or recorded[:2] != (label, count):
                    raise VerificationError("other challenges are drawn")
                return recorded[2]

        self._replaying = Replaying
        self._under(Recording, circuit, bytes(proof))
        assert self.outcome(circuit, bytes(proof)) is None

    def _noted(self, label, count, value):
        self.record.append((label, count, value))
        return value

    def _under(self, transcript, circuit, raw):
        original, zkjax.verifier.Transcript = zkjax.verifier.Transcript, transcript
        try:
            return outcome(circuit, raw, minimum_bits=self.minimum_bits)
        finally:
            zkjax.verifier.Transcript = original

    def outcome(self, circuit, raw: bytes):
        return self._under(self._replaying, circuit, raw)
