"""What a trainer keeps secret besides data and weights: the randomness of commitments, and how much of it is used up."""

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import RunError
from .geometry import Geometry
from .openings import Openings

BUDGETS = {"weights": 4, "frozen": 6, "shard": 6}  # openings of a commitment: folded padding grows with them, but each link costs a path
MAX_BUDGET = 8  # that a geometry leaves room for
KEPT_BYTES = 2**29  # of commitments that a chain keeps in memory for its next proofs


@dataclass(frozen=True)
class Key:
    """The seed of one commitment's randomness, and the public name of its opening counter.

    number: of the commitment, where it is one that another chain's owner has handed over; None: that of its step.
    """

    seed: bytes = field(repr=False)
    name: str
    number: int | None = None

    @staticmethod
    def fresh() -> "Key":
        """A key from the operating system's randomness."""
        return Key(secrets.token_bytes(32), Openings.new_name())

    def __reduce__(self):
        raise RunError("the key of a commitment cannot be copied or pickled; use run.save and Run.load")


@dataclass(eq=False)
class Chain:
    """What all runs of a chain share, and threads that prove them at once. Its geometry is fixed at the first proof.

    data:     key from which those of the dataset's shards follow, and others that are never published (``secret``). openings: the
              counters, and what has been replaced. prefer: what the geometry is chosen for, "time" or "bytes".
    """

    data: Key
    geometry: Geometry | None = None
    prefer: str = "time"
    openings: Openings = field(init=False, repr=False)
    _kept: dict = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=threading.RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.openings = Openings(self.secret("chain").hex())

    def secret(self, name: str) -> bytes:
        """32 bytes for one use; who knows some of them knows nothing of the others."""
        return hmac.digest(self.data.seed, name.encode(), "sha256")

    @staticmethod
    def fresh(prefer: str = "time") -> "Chain":
        return Chain(Key.fresh(), prefer=prefer)

    def beside(self) -> "Chain":
        """One of other data, with a key of its own, whose proofs open weights of this one too: of its geometry, on the same counters."""
        other = Chain(Key.fresh(), self.geometry)
        other.openings = self.openings
        return other

    def counted_by(self, openings) -> "Chain":
        """The same chain, with the commitments that it keeps, whose openings something else counts."""
        other = Chain(self.data, self.geometry, self.prefer)
        other.openings, other._kept, other._lock = openings, self._kept, self._lock
        return other

    def budget(self, kind: str) -> int:
        """How often a commitment of this kind may be opened."""
        return min(BUDGETS[kind], self.geometry.max_budget if self.geometry else MAX_BUDGET)

    def fix_geometry(self, choose: Callable[[str], Geometry]) -> Geometry:
        """The geometry, chosen now for what is preferred if that has not been done: never twice."""
        with self._lock:
            self.geometry = self.geometry or choose(self.prefer)
            return self.geometry

    def keep(self, name: str, make):
        """What was made under this name before, or ``make()``."""
        with self._lock:
            self._kept[name] = self._kept.pop(name) if name in self._kept else make()
            return self._kept[name]

    def forget(self, newest: str) -> None:
        """Let go of what takes more than 2^29 bytes in all: of the largest first, of ``newest`` never; the next proof begins with it."""
        with self._lock:
            kept = self._kept
            while sum(map(_size, kept.values())) > KEPT_BYTES and len(kept) > 1:
                del kept[max((name for name in kept if name != newest), key=lambda name: _size(kept[name]))]


def _size(value) -> int:
    return getattr(value, "nbytes", 0)
