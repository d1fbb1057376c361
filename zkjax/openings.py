"""Opening budgets: how often each commitment has been opened, in memory and, once saved, on disk under a lock.

Each opening uses up some of a commitment's randomness for good; one too many would leak. A unit is spent *before* the
opening is computed, so a crash wastes a unit but never repeats one. Two processes that work on the same directory share its
counters. A copied or restored directory defeats any counter: never prove from two copies of one private folder.
"""

import fcntl
import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path

from .errors import BudgetError, FormatError

FILE = "openings.json"


class Openings:
    """Counters by commitment name; shared by all runs of a chain."""

    def __init__(self):
        self.spent: dict[str, int] = {}
        self.directories: list[Path] = []

    @staticmethod
    def new_name() -> str:
        """A fresh public name for a commitment's counter."""
        return secrets.token_hex(16)

    def bind(self, directory) -> None:
        """Keep the counters in this directory as well, from now on. Counters found there are merged (the larger wins)."""
        directory = Path(directory).resolve()
        with _locked(directory):
            self._merge(_read(directory))
            _write(directory, self.spent)
        if directory not in self.directories:
            self.directories.append(directory)

    def spend(self, budgets: dict[str, int]) -> None:
        """Take one unit of each named commitment, or none and raise BudgetError. budgets: name to its allowance."""
        with _all_locked(self.directories):
            for directory in self.directories:
                self._merge(_read(directory))
            used = [name for name, budget in budgets.items() if self.spent.get(name, 0) >= budget]
            if used:
                raise BudgetError(
                    f"a commitment has been opened {budgets[used[0]]} times, which is all its randomness allows: commit again, that "
                    "is, start a new chain (zkjax.train with parameters instead of a run), or allow more openings there"
                )
            for name in budgets:
                self.spent[name] = self.spent.get(name, 0) + 1
            for directory in self.directories:
                _write(directory, self.spent)

    def _merge(self, other: dict[str, int]):
        for name, count in other.items():
            self.spent[name] = max(count, self.spent.get(name, 0))


@contextmanager
def _locked(directory: Path):
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / f".{FILE}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _all_locked(directories: list[Path]):
    """Locks in one fixed order, so that two processes never wait for each other."""
    if not directories:
        yield
        return
    first, *rest = sorted(directories)
    with _locked(first), _all_locked(rest):
        yield


def _read(directory: Path) -> dict[str, int]:
    path = directory / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: not a JSON file; without its counters no commitment of this directory may be opened") from None
    if not isinstance(data, dict) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in data.values()):
        raise FormatError(f"{path}: expected counters by name")
    return data


def _write(directory: Path, spent: dict[str, int]):
    """Replace the file atomically and durably."""
    path, fresh = directory / FILE, directory / f".{FILE}.new"
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)  # the file may be a leftover
        json.dump(spent, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
