"""Work and memory of a verification, counted before it is done: the one limit that stands between a short file and endless work.

A *unit* of work is one multiplication in F on a long NumPy vector, some 30 nanoseconds; what Python does one by one costs as
many units as it takes of their time. Every loop whose length follows from a public size is charged here: the estimate
(``estimate.py``) runs the argument on the lengths of its vectors alone and so charges what the verifier then does.
"""

from .errors import VerificationError

MAX_WORK = 4 * 10**9  # units of one call: some minutes
MAX_MEMORY = 4 * 2**30  # bytes at its peak

SCALAR = 2**5  # an operation on one element of K, in Python
HASH = 2**7  # a node of a Merkle tree, and its place in the path
TERM = 2**10  # an object of Python's own: a term, a message, a round
CALL = 2**12  # the calls into NumPy of one operation on a K vector, however short
PRODUCT = 4  # each entry of a product over K
ONE_BY_ONE = SCALAR // PRODUCT  # products that take as long as an entry that Python makes
DRAWN = 4  # each word that is drawn from a key, and its place in a sum
SPREAD = 8  # each entry of one whose results are added up at places of their own
ENTRY = 16  # bytes of an element of K
PASSING = 128  # bytes for each entry while an operation works on it
BASE = 2**26  # bytes that a verification takes whatever it is about
OBJECT = 2**10  # bytes of an object of Python's own


class Meter:
    """Counts the work of one call, and the memory of one proof after another; VerificationError beyond a limit (None: no limit).

    work: units so far. kept: bytes that the present proof holds. memory: bytes at the peak. shares: units by what asks for them.
    """

    def __init__(self, max_work: int | None = None, max_memory: int | None = None):
        self.max_work, self.max_memory = max_work, max_memory
        self.work, self.kept, self.memory = 0, BASE, 0
        self.shares: dict[str, int] = {}

    def charge(self, what: str, work: int, kept: int = 0, passing: int = 0) -> None:
        """So many units; so many bytes from now on, and while it is done."""
        self.work += work
        self.kept += kept
        self.memory = max(self.memory, self.kept + passing)
        self.shares[what] = self.shares.get(what, 0) + work
        if self.max_work is not None and self.work > self.max_work:
            largest = max(self.shares, key=self.shares.__getitem__)
            raise VerificationError(
                "work",
                f"verifying takes more than the limit of {self.max_work:,} field multiplications, {self.shares[largest]:,} of them for "
                f"{largest}; raise max_work (--max-work), or ask for shorter chunks",
            )
        if self.max_memory is not None and self.memory > self.max_memory:
            raise VerificationError(
                "work",
                f"verifying takes more than the limit of {self.max_memory:,} bytes of memory, {kept + passing:,} of them for {what}; "
                "raise max_memory (--max-memory), or ask for shorter chunks",
            )

    def repeat(self, other: "Meter", times: int) -> None:
        """Charge so many times what another meter has counted; what it keeps is kept each time."""
        for what, work in other.shares.items():
            self.charge(what, times * work)
        self.charge("shards", 0, times * (other.kept - BASE), other.memory - other.kept)

    def __str__(self) -> str:
        most = sorted(self.shares.items(), key=lambda share: -share[1])[:3]
        asked = ", ".join(f"{what} {work:,}" for what, work in most)
        return f"{self.work:,} field multiplications ({asked}, ..) and {self.memory / 2**20:,.0f} MiB at its peak"

    def next_proof(self) -> None:
        """The present proof's memory is free again."""
        self.kept = BASE
