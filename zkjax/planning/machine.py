"""How fast a machine is: seconds of each kind of work, and how the sizes of a training and of a proof make seconds of them.

    training   = run + step_work * (stepping, or compiled where XLA compiles the steps)
    proving    = proof + codes * entries of codewords + argument * units of work of the argument + lookups * leaves of their tree
    verifying  = verifying * units of work
    compiling  = kernels + compiling * (log2 of the leaves - 12)^4, once in a process; longer tables have more shapes

A proof of a small circuit is Python, message by message, and the same lines run in the verifier, which counts them in units (``work``);
one of a large circuit is hashing of codewords and folding of the tree of lookups. Standard library only.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import files
from ..errors import FormatError

LIMIT = 2**16  # bytes of the file
UNCOMPILED_LOG, LONGEST_LOG = 12, 21  # trees of lookups: up to here nothing is compiled, and from here on nothing more


@dataclass(frozen=True)
class Sizes:
    """What a chunk of steps and its proof consist of.

    step_work:     units of all steps (``training.steps.step_work``, and what moving states takes); compiled: whether XLA compiles them
    argument_work: units of the argument (``work``); verifying_work: of verifying the proof
    log_lookups:   log2 of the tree of lookups; leaves: those that are not padding
    codes:         entries of the codewords that the proof encodes and hashes, with what each column takes besides
    memory:        bytes of what training and the proof hold at their peak; verifying_memory: of a verifier; proof_bytes: of the file
    shards:        of the dataset that the proof opens; link_bytes: what replacing the commitment of one adds to a file
    """

    step_work: int
    compiled: bool
    argument_work: int
    verifying_work: int
    log_lookups: int
    leaves: int
    codes: int
    memory: int
    verifying_memory: int
    proof_bytes: int
    shards: int
    link_bytes: int


@dataclass(frozen=True)
class Machine:
    """Seconds of one unit of each kind of work; the module says how they add up.

    name:   what was measured: processor, cores, versions; "" for the constants that come with the package.
    memory: bytes of a process that has compiled a proof, besides what the proof holds.
    """

    name: str
    run: float
    stepping: float
    compiled: float
    proof: float
    codes: float
    argument: float
    lookups: float
    verifying: float
    kernels: float
    compiling: float
    memory: int

    def training_seconds(self, sizes: Sizes) -> float:
        """Of all steps, once they are compiled."""
        return self.run + sizes.step_work * (self.compiled if sizes.compiled else self.stepping)

    def proving_seconds(self, sizes: Sizes) -> float:
        """Of one proof, once its kernels are compiled; verifying it is not counted."""
        return self.proof + self.codes * sizes.codes + self.argument * sizes.argument_work + self.lookups * sizes.leaves

    def verifying_seconds(self, sizes: Sizes) -> float:
        """Of ``zkjax.verify``, without the start of a process."""
        return self.verifying * sizes.verifying_work

    def compiling_seconds(self, sizes: Sizes) -> float:
        """What a first proof takes longer in a process without a cache of compiled code."""
        return self.kernels + self.compiling * shapes(sizes)

    # ---- the file ---------------------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the constants to the user's cache directory, or elsewhere; returns the file's path."""
        path = own_file() if path is None else Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, (json.dumps(asdict(self), indent=1) + "\n").encode())
        return path

    @staticmethod
    def load(path: str | os.PathLike[str] | None = None) -> "Machine":
        """Those that ``python -m zkjax measure`` found here, or the built-in ones where it never ran; FormatError for another file."""
        given, path = path is not None, own_file() if path is None else Path(path)
        if not given and not path.exists():
            return BUILT_IN
        try:
            data = json.loads(files.read(path, LIMIT).decode())
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}: not a JSON file ({error}); `python -m zkjax measure` writes a new one") from None
        names = Machine.__dataclass_fields__
        numbers = [data[name] for name in names if name != "name"] if isinstance(data, dict) and set(data) == set(names) else [None]
        if not all(type(x) in (int, float) and 0 <= x < float("inf") for x in numbers) or type(data["name"]) is not str:
            raise FormatError(f"{path}: not the constants of a machine; `python -m zkjax measure` writes new ones")
        return Machine(**data)


def shapes(sizes: Sizes) -> int:
    """How much more there is to compile than for any proof: with longer tables more kernels, for more lengths, of longer loops."""
    return max(1, min(sizes.log_lookups, LONGEST_LOG) - UNCOMPILED_LOG) ** 4


def own_file() -> Path:
    """Where this machine's constants are kept, in the user's cache directory."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "zkjax" / "machine.json"


# Two cores of a server's processor of 2023, 24 GB.
BUILT_IN = Machine(
    name="",
    run=2.5e-3,
    stepping=5e-9,
    compiled=5e-10,
    proof=0.25,
    codes=3.6e-8,
    argument=2.8e-7,
    lookups=8e-8,
    verifying=3.3e-8,
    kernels=14.0,
    compiling=9e-3,
    memory=750_000_000,
)
