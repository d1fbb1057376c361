"""What a trainer keeps secret besides data and weights: the randomness of commitments, and how much of it is used up."""

import secrets
from dataclasses import dataclass, field

from .commitment.geometry import Geometry
from .errors import RunError
from .openings import Openings

WEIGHTS_BUDGET = 4  # openings of a weights commitment: two as final weights, two as initial ones
ROLE_BUDGET = WEIGHTS_BUDGET // 2


@dataclass(frozen=True)
class Key:
    """The seed of one commitment's randomness, and the public name of its opening counter."""

    seed: bytes = field(repr=False)
    name: str

    @staticmethod
    def fresh() -> "Key":
        """A key from the operating system's randomness."""
        return Key(secrets.token_bytes(32), Openings.new_name())

    def __reduce__(self):
        raise RunError("the key of a commitment cannot be copied or pickled; use run.save and Run.load")


@dataclass(eq=False)
class Chain:
    """What all runs of a chain share. Its geometry is fixed at the first proof.

    data:     key of the dataset's commitments. budget: how often each of its shards may be opened.
    openings: the counters.
    """

    data: Key
    budget: int
    openings: Openings = field(default_factory=Openings, repr=False)
    geometry: Geometry | None = None
    _kept: dict = field(default_factory=dict, repr=False)

    @staticmethod
    def fresh(budget: int) -> "Chain":
        return Chain(Key.fresh(), budget)

    def keep(self, name: str, make, limit: int = 16):
        """A commitment computed before, or ``make()``; the most recent ones are kept in memory."""
        if name in self._kept:
            self._kept[name] = self._kept.pop(name)
        else:
            self._kept[name] = make()
            while len(self._kept) > limit:
                del self._kept[next(iter(self._kept))]
        return self._kept[name]
