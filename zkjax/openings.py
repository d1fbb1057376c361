"""Opening budgets: how often each commitment has been opened, in memory and, once saved, on disk under a lock.

Each opening uses up some of a commitment's randomness for good; one too many would leak. A unit is spent *before* the
opening is computed, so a crash wastes a unit but never repeats one. Every directory in which a run of a chain is saved keeps
the chain's counters and the names of the others, and a unit is spent in all of them: processes share them, whichever they
loaded. A copied, moved or restored directory defeats any counter: never prove from two copies. Copies in memory are refused,
by ``pickle`` and ``copy`` at once, after ``os.fork`` unless a directory keeps the counters of both processes.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from .errors import BudgetError, FormatError, RunError

FILE = "openings.json"


class Openings:
    """Counters by commitment name; shared by all runs of a chain."""

    def __init__(self):
        self.spent: dict[str, int] = {}
        self.directories: list[Path] = []
        self._process = os.getpid()

    def __reduce__(self):
        raise RunError("a run cannot be copied or pickled: two copies would spend the same randomness twice; use run.save and Run.load")

    def _check_process(self):
        if not self.directories and os.getpid() != self._process:
            raise RunError(
                "this run was copied by a fork of the process: two copies would spend the same randomness twice; save the run "
                "before the fork (run.save), so that both share its counters"
            )

    @staticmethod
    def new_name() -> str:
        """A fresh public name for a commitment's counter."""
        return secrets.token_hex(16)

    def bind(self, directory) -> None:
        """Keep the counters in this directory as well, from now on, and in all that it knows of; the larger counter wins."""
        self._check_process()
        directory = Path(directory).resolve()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directories = sorted({*self.directories, directory})
        with self._shared():
            self._write_all()

    @contextmanager
    def _shared(self):
        """Hold the locks of all directories, with every counter that any of them knows of."""
        while True:
            self.directories = [path for path in self.directories if path.exists()]  # what the user deleted counts no more
            self._check_process()
            with _all_locked(self.directories):
                if not self._merge_all():
                    yield
                    return

    def spend(self, budgets: dict[str, int], shown: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take one unit of each named commitment, or raise BudgetError. budgets: name to allowance; shown: to a name for people."""
        with self._shared():
            used = [name for name, budget in budgets.items() if self.spent.get(name, 0) >= budget]
            if used:
                raise BudgetError(
                    f"the commitment to {shown.get(used[0], used[0])} has been opened {budgets[used[0]]} times, all that its randomness "
                    "allows: commit again, that is, start a new chain (zkjax.train with parameters instead of a run; openings=N there "
                    "lets N proofs read each shard of the dataset)"
                )
            for name in budgets:
                self.spent[name] = self.spent.get(name, 0) + 1
            self._write_all()

    def _merge_all(self) -> bool:
        """Take over the counters of all directories; whether they name directories that are not among them."""
        found = set()
        for directory in self.directories:
            spent, others = _read(directory)
            for name, count in spent.items():
                self.spent[name] = max(count, self.spent.get(name, 0))
            found |= {path for path in others if (path / FILE).exists()}
        new = found - set(self.directories)
        self.directories = sorted({*self.directories, *new})
        return bool(new)

    def _write_all(self):
        for directory in self.directories:
            _write(directory, {"spent": self.spent, "directories": [str(path) for path in self.directories]})


@contextmanager
def _locked(directory: Path):
    descriptor = os.open(directory / f".{FILE}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _all_locked(directories: list[Path]):
    """Locks in the directories' order, so that two processes never wait for each other."""
    if not directories:
        yield
        return
    first, *rest = directories
    with _locked(first), _all_locked(rest):
        yield


def _read(directory: Path) -> tuple[dict[str, int], list[Path]]:
    path = directory / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: not a JSON file; without its counters no commitment of this directory may be opened") from None
    spent, directories = (data.get("spent"), data.get("directories")) if isinstance(data, dict) else (None, None)
    if not isinstance(spent, dict) or not all(type(n) is int and n >= 0 for n in spent.values()):
        raise FormatError(f"{path}: expected counters by name")
    if not isinstance(directories, list) or not all(isinstance(d, str) for d in directories):
        raise FormatError(f"{path}: expected the names of directories")
    return spent, [Path(d) for d in directories]


def _write(directory: Path, content: dict):
    """Replace the file atomically and durably."""
    path, fresh = directory / FILE, directory / f".{FILE}.new"
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)  # the file may be a leftover
        json.dump(content, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
