"""Fiat-Shamir on the host: a hash-chained transcript, and the message streams of prover and verifier.

Every absorb is typed and length-prefixed, so no two sequences of messages collide. Protocol code is written once: it
calls ``stream.elements(label, count, values)`` and so on; a ``Writer`` takes the prover's values, a ``Reader`` takes the
same number of bytes from the proof, refusing what is not canonical. Both absorb before they return.

PROTOCOL.md, section 3.
"""

import hashlib
import struct

import numpy as np

from ..algebra.extension import Ext
from ..algebra.field import P
from ..errors import FormatError

PROTOCOL_VERSION = 2


class Transcript:
    """state = H(state || type || label || length || data); a challenge is H(state || counter), and ends in the state."""

    def __init__(self, parameters: bytes, statement: bytes):
        self._state = hashlib.sha256(b"zkjax transcript %d" % PROTOCOL_VERSION).digest()
        self.absorb("parameters", parameters)
        self.absorb("statement", statement)

    @property
    def state(self) -> bytes:
        return self._state

    def absorb(self, label: str, data: bytes) -> None:
        name = label.encode()
        self._state = hashlib.sha256(self._state + b"absorb" + struct.pack("<HQ", len(name), len(data)) + name + data).digest()

    def _draw(self, label: str, size: int) -> bytes:
        name = label.encode()
        self._state = hashlib.sha256(self._state + b"draw" + struct.pack("<HQ", len(name), size) + name).digest()
        blocks = -(-size // 32)
        return b"".join(hashlib.sha256(self._state + b"block" + struct.pack("<Q", i)).digest() for i in range(blocks))[:size]

    def challenge(self, label: str) -> Ext:
        """A uniform element of K: two 128-bit integers modulo p (bias below 2^-63)."""
        raw = self._draw(label, 32)
        return Ext(int.from_bytes(raw[:16], "little"), int.from_bytes(raw[16:], "little"))

    def challenges(self, label: str, count: int) -> list[Ext]:
        """``count`` uniform elements of K."""
        raw = self._draw(label, 32 * count)
        parts = [int.from_bytes(raw[i : i + 16], "little") for i in range(0, 32 * count, 16)]
        return [Ext(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]

    def indices(self, label: str, count: int, log_size: int) -> list[int]:
        """``count`` indices below 2^log_size, with replacement, from exact bits."""
        raw = self._draw(label, 4 * count)
        return [x & (2**log_size - 1) for x in struct.unpack(f"<{count}I", raw)]

    def bits(self, label: str, count: int) -> np.ndarray:
        """``count`` bits, a multiple of 8, those of each byte from the lowest up: uint8."""
        return np.unpackbits(np.frombuffer(self._draw(label, count // 8), dtype=np.uint8), bitorder="little")


def base_bytes(values: np.ndarray) -> bytes:
    """Canonical bytes of an F array: 8 little-endian bytes each."""
    return np.ascontiguousarray(values, dtype="<u8").tobytes()


def element_bytes(values) -> bytes:
    """Canonical bytes of a K array: c0, c1 alternating."""
    return base_bytes(np.stack([np.asarray(values[0]).reshape(-1), np.asarray(values[1]).reshape(-1)], axis=1))


class Writer:
    """The prover's end: absorbs and collects messages. ``bytes(writer)`` is the proof's body."""

    proving = True

    def __init__(self, transcript: Transcript):
        self.transcript = transcript
        self._parts: list[bytes] = []

    def _put(self, label: str, data: bytes):
        self.transcript.absorb(label, data)
        self._parts.append(data)

    def elements(self, label: str, count: int, values=None):
        """Send ``count`` elements of K, given as a NumPy K array; returns them."""
        values = tuple(np.asarray(c, dtype=np.uint64).reshape(-1) for c in values)
        if len(values[0]) != count:
            raise ValueError(f"{label}: {len(values[0])} elements, expected {count}")
        self._put(label, element_bytes(values))
        return values

    def base(self, label: str, count: int, values=None) -> np.ndarray:
        """Send ``count`` elements of F; returns them."""
        values = np.asarray(values, dtype=np.uint64).reshape(-1)
        if len(values) != count:
            raise ValueError(f"{label}: {len(values)} elements, expected {count}")
        self._put(label, base_bytes(values))
        return values

    def raw(self, label: str, size: int, data: bytes | None = None) -> bytes:
        """Send ``size`` bytes (digests, salts); returns them."""
        if data is None or len(data) != size:
            raise ValueError(f"{label}: expected {size} bytes")
        self._put(label, data)
        return data

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """The verifier's end: reads what the protocol expects next, and nothing else."""

    proving = False

    def __init__(self, transcript: Transcript, body: bytes):
        self.transcript = transcript
        self._body = body
        self._at = 0

    def _take(self, label: str, size: int) -> bytes:
        data = self._body[self._at : self._at + size]
        if len(data) != size:
            raise FormatError(f"proof ends inside {label!r}: {size} bytes expected at offset {self._at}, {len(data)} left")
        self._at += size
        self.transcript.absorb(label, data)
        return data

    def elements(self, label: str, count: int, values=None):
        """Read ``count`` elements of K as a NumPy K array."""
        flat = self.base(label, 2 * count)
        return flat[0::2].copy(), flat[1::2].copy()

    def base(self, label: str, count: int, values=None) -> np.ndarray:
        """Read ``count`` canonical elements of F."""
        flat = np.frombuffer(self._take(label, 8 * count), dtype="<u8").astype(np.uint64)
        if count and int(flat.max()) >= P:
            raise FormatError(f"{label!r} holds an integer that is not below p")
        return flat

    def raw(self, label: str, size: int, data: bytes | None = None) -> bytes:
        """Read ``size`` bytes."""
        return self._take(label, size)

    def finish(self) -> None:
        """Refuse bytes after the last message."""
        if self._at != len(self._body):
            raise FormatError(f"proof has {len(self._body) - self._at} bytes after its last message")
