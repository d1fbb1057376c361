"""Opening budgets: how often each commitment has been opened, in memory and, once saved, on disk under a lock.

Each opening uses up some of a commitment's randomness for good; one too many would leak. A unit is spent *before* the
opening is computed, so a crash wastes a unit but never repeats one; or, where finished proofs wait in a private place (``publish``), before
such a proof leaves it: what nobody has seen has used up nothing. Every directory in which a run of a chain is saved keeps
the chain's counters and the names of the others, and a unit is spent in all of them: processes share them, whichever they
loaded. A copied, moved or restored directory defeats any counter: never prove from two copies. Copies in memory are refused,
by ``pickle`` and ``copy`` at once, after ``os.fork`` unless a directory keeps the counters of both processes.

A commitment that is needed on is replaced by a fresh one of the same matrix, in a proof that opens both (``slots.py``), before its
last unit is spent. What has replaced what is kept with the counters: it changes once that proof is finished, and before anybody
has its bytes. A proof that is lost on the way leaves the old commitment in its place, with a unit in reserve for another try.

Directories are names in a file that somebody may have altered. One is followed only if the counters in it carry the mark of the
same chain, which follows from the chain's secret: whoever can write one private directory can have no other chain's counters
read or changed, and no counter is ever lowered or made where there is none. While a run takes the place of another chain's, the
counters of both are there, so that a kill leaves either run with its own.
"""

import fcntl
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import files
from ..errors import BudgetError, ConfigurationError, FormatError, RunError
from .slots import NOTHING, RESERVE, Choice, Generations, Replacements, Slot

FILE = "openings.json"
REPLACING = "replacing"  # a lock's name
KEPT = "kept-{}.proof"  # files of proofs
LIMIT = 2**26  # bytes of such a file: a million counters
RESERVED = "the openings left of {} are for a proof that replaces their commitment: let zkjax.link do that first"


class Openings:
    """Counters by commitment name; shared by all runs of a chain. mark: of the chain, not to be guessed; default: a new one."""

    def __init__(self, mark: str | None = None):
        self.mark = self.new_name() if mark is None else mark
        self.spent: dict[str, int] = {}
        self.replaced: dict[str, Replacements] = {}
        self.disclosed: dict[str, int] = {}  # groups of weights whose integers were published, and their steps
        self.published: dict[str, str] = {}  # chunks whose proofs were counted when they were finished, and these proofs' SHA-256
        self.directories: list[Path] = []
        self._process = os.getpid()
        self._lock = threading.RLock()  # of this process's threads; other processes meet at the files' locks
        self._replacing, self._depth = threading.RLock(), 0

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
        """Keep the counters in this directory as well, from now on, and in all that it knows of; the larger counter wins.

        Raises: RunError - another chain's counters are kept there.
        """
        with self.bound(directory):
            pass

    @contextmanager
    def bound(self, directory, beside: bool = False):
        """As ``bind``; the directory's lock is held for the block.

        beside: another chain's counters may be there (unreadable ones go); they stay until ``keep_alone``, called in the block.
        """
        self._check_process()
        directory = Path(directory).resolve()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            with _locked(directory):
                self._enter(directory, beside)
            self.directories = sorted({*self.directories, directory})
            with self._shared():
                self._write_all()
                yield

    def _enter(self, directory: Path, beside: bool) -> None:
        """Write counters of this chain beside those of others."""
        try:
            marks = marks_of(directory)
        except FormatError:
            if not beside:
                raise
            self._write(directory, [])
        else:
            if marks and self.mark not in marks:
                if not beside:
                    raise RunError(f"{directory}: {FILE} holds the counters of another chain")
                self._write(directory, _read(directory))

    def keep_alone(self, directory) -> None:
        """Drop counters of other chains that are there."""
        if marks_of(directory := Path(directory).resolve()) != [self.mark]:
            self._write(directory, [])

    @contextmanager
    def _shared(self):
        """Hold the locks of all directories, with every counter that any of them knows of."""
        with self._lock:
            while True:
                self.directories = [path for path in self.directories if path.exists()]  # what the user deleted counts no more
                with ExitStack() as locks:
                    for directory in self.directories:  # in order, so that two processes never wait for each other
                        locks.enter_context(_locked(directory))
                    if self._merge_all():
                        continue
                    self._check_process()
                    yield
                    return

    @contextmanager
    def replacing(self):
        """Of a proof that replaces commitments, until it is finished: others wait for it, in all processes, and start from there."""
        with self._replacing, ExitStack() as locks:
            if not self._depth:  # a file is locked once by a process
                for directory in self.directories:
                    locks.enter_context(_locked(directory, REPLACING))
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def _take(self, names: Iterable[str]) -> None:
        self._count(names)
        self._write_all()

    def _count(self, names: Iterable[str]) -> None:
        for name in names:
            self.spent[name] = self.spent.get(name, 0) + 1

    def choose(self, slots: Sequence[Slot], chunk: str, replace: bool = False, again: bool = True) -> Choice:
        """Which of the slots' commitments a proof opens and replaces, as far as this process knows; spends nothing.

        chunk: a name of what it proves. replace: all of them, whatever is left. again: as a finished proof of the chunk did, if there is
        one, and units for it. Raises: BudgetError.
        """
        found, replaced = {}, []
        for group in dict.fromkeys(slot.group for slot in slots):
            known, own = self.replaced.get(group, NOTHING), [slot for slot in slots if slot.group == group]
            found[group], links = known.start(own, chunk if again else "", self._left)
            replaced += own if replace and found[group] == known.now else links
        for slot in (slot for slot in replaced if slot.kept):
            raise BudgetError(RESERVED.format(slot.shown))
        choice = Choice(tuple(slots), found, tuple(slot for slot in slots if slot in replaced))
        self._require(choice)
        return choice

    def take(self, slots: Sequence[Slot], chunk: str, choice: Choice, replace: bool = False, again: bool = True) -> Choice:
        """Take one unit of each commitment that was chosen; or, where another proof came in between, return another choice."""
        with self._shared():
            new = self.choose(slots, chunk, replace, again)
            if new == choice:
                self._take(choice.budgets())
            return new

    def take_alone(self, *slots: Slot) -> Generations:
        """Take one unit of each commitment that is one of these slots' now, for an opening that replaces nothing.

        slots: of one group. Returns what has been replaced in it. What a later proof needs to replace them stays. Raises: BudgetError.
        """
        with self._shared():
            (group,) = {slot.group for slot in slots}
            now = self.replaced.get(group, NOTHING).now
            known = [(slot, dict(now).get(slot.member, 0)) for slot in slots]
            for slot, generation in known:
                if self._left(slot, generation) <= 1 + RESERVE:
                    raise BudgetError(RESERVED.format(slot.shown))
            self._take(unit for slot, generation in known for unit in slot.units(generation))
            return now

    def disclose(self, group: str, step: int, update: bool) -> None:
        """Remember that weights are published: before they are.

        update: whether the difference to other ones that are may be known. Raises: ConfigurationError.
        """
        with self._shared():
            others = sorted({at for name, at in self.disclosed.items() if name != group})
            if others and not update:
                raise ConfigurationError(
                    f"weights of this chain were disclosed, those after {', '.join(map(str, others))} steps; with those after {step} "
                    "everybody would know the update between them: update=True says that this may be"
                )
            self.disclosed[group] = step
            self._write_all()

    def finish(self, choice: Choice, chunk: str) -> None:
        """Remember what a proof has replaced: it is finished, and nobody has its bytes yet."""
        if not choice.links:
            return
        with self._shared():
            self._replace(choice, chunk)
            self._write_all()

    def _replace(self, choice: Choice, chunk: str) -> None:
        for group, after in choice.after().items():
            self.replaced[group] = self.replaced.get(group, NOTHING).moved(choice.base(group), after, chunk)

    def publish(self, slots: Sequence[Slot], chunk: str, choice: Choice, digest: str) -> Choice:
        """Take a unit of each commitment that a finished proof opened, and remember what it has replaced: before anybody has its bytes.

        digest: the proof's SHA-256, in hexadecimal digits. Bytes that are recorded take nothing a second time. Returns the choice; or,
        where other proofs have opened or replaced commitments since it was made, another one: then the proof must not leave. Raises:
        BudgetError.
        """
        with self._shared():
            before = dict(self.spent), dict(self.replaced), dict(self.published)
            try:
                if self.published.get(chunk) != digest:
                    new = self.choose(slots, chunk)
                    if new != choice:
                        return new
                    self._count(choice.budgets())
                    self._replace(choice, chunk)
                    self.published[chunk] = digest
                self._write_all()  # also what is recorded: a kill may have left a directory without it
            except BaseException:  # what is not on the disk is not recorded
                self.spent, self.replaced, self.published = before
                raise
            return choice

    def ahead(self) -> "Openings":
        """The counters as they are now, in memory alone: to count on what proofs will open that are not made yet."""
        with self._shared():
            found = Openings(self.mark)
            found.spent, found.replaced = dict(self.spent), dict(self.replaced)
            return found

    def keep(self, proof: bytes) -> None:
        """Write a proof into all directories, durably: before ``finish`` for one that must not be lost."""
        with self._shared():
            for directory in self.directories:
                files.write(directory / KEPT.format(hashlib.sha256(proof).hexdigest()[:16]), proof)

    def kept(self) -> dict[str, Path]:
        """The files of all proofs that were kept, by their names."""
        return {path.name: path for directory in self.directories for path in directory.glob(KEPT.format("*"))}

    def _left(self, slot: Slot, generation: int) -> int:
        return slot.budget - max(self.spent.get(unit, 0) for unit in slot.units(generation))

    def _require(self, choice: Choice) -> None:
        """Raise BudgetError where no unit is left of something, as far as this process knows."""
        for slot in choice.slots:
            first = choice.generation(slot)
            if any(self._left(slot, generation) < 1 for generation in range(first, first + 1 + (slot in choice.links))):
                raise BudgetError(
                    f"the commitment to {slot.shown} has been opened {slot.budget} times, all that its randomness allows: commit again, "
                    f"that is, {slot.cure}"
                )

    def _merge_all(self) -> bool:
        """Take over the counters of all directories; whether they name directories of this chain that are not among them.

        A directory in which the user has saved another chain's run since counts no more either.
        """
        found: set[Path] = set()
        foreign: set[Path] = set()
        for directory in self.directories:
            chains = _read(directory)
            if chains and not any(chain["mark"] == self.mark for chain in chains):
                foreign.add(directory)
            for chain in chains:
                if chain["mark"] == self.mark:
                    for name, count in chain["spent"].items():
                        self.spent[name] = max(count, self.spent.get(name, 0))
                    for group, found_there in chain["replaced"].items():
                        there = Replacements.from_json(found_there)
                        self.replaced[group] = max(there, self.replaced.get(group, NOTHING), key=Replacements.count)
                    self.disclosed |= chain["disclosed"]
                    self.published |= chain.get("published", {})
                    found |= {Path(name) for name in chain["directories"]}
        new = {path for path in found - set(self.directories) if path.is_absolute() and self._is_ours(path)}
        self.directories = sorted({*self.directories, *new} - foreign)
        return bool(new)

    def _is_ours(self, directory: Path) -> bool:
        """Whether counters of this chain are kept there. Nothing is changed in a directory before that is known."""
        try:
            return self.mark in marks_of(directory)
        except (OSError, FormatError):
            return False

    def _write_all(self):
        for directory in self.directories:
            self._write(directory, _read(directory))

    def _write(self, directory: Path, chains: list[dict]) -> None:
        """Counters of this chain, and those of the others among ``chains``."""
        content = {"mark": self.mark, "spent": self.spent, "directories": [str(path) for path in self.directories]}
        content |= {"disclosed": self.disclosed, "published": self.published}
        content["replaced"] = {group: replaced.to_json() for group, replaced in self.replaced.items()}
        if others := [chain for chain in chains if chain["mark"] != self.mark]:
            content["others"] = others
        files.write(directory / FILE, json.dumps(content, indent=1, sort_keys=True).encode())


def marks_of(directory: Path) -> list[str]:
    """The marks of the chains whose counters are kept in a directory."""
    return [chain["mark"] for chain in _read(directory)]


@contextmanager
def _locked(directory: Path, name: str = FILE):
    descriptor = os.open(directory / f".{name}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(directory: Path) -> list[dict]:
    """The counters of each chain that has any there."""
    path = directory / FILE
    try:
        data = json.loads(files.read(path, LIMIT).decode())
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        raise FormatError(f"{path}: not a JSON file; without its counters no commitment of this directory may be opened") from None
    others = data.pop("others", []) if isinstance(data, dict) else []
    for chain in (chains := [data, *(others if isinstance(others, list) else [others])]):
        _check(path, chain)
    return chains


def _check(path: Path, data) -> None:
    names = ("mark", "spent", "replaced", "disclosed", "directories")
    mark, spent, replaced, disclosed, directories = (data.get(name) for name in names) if isinstance(data, dict) else (None,) * 5
    if not isinstance(mark, str):
        raise FormatError(f"{path}: expected the mark of a chain")
    if not isinstance(spent, dict) or not all(type(n) is int and n >= 0 for n in spent.values()):
        raise FormatError(f"{path}: expected counters by name")
    if not isinstance(replaced, dict) or not all(map(Replacements.is_json, replaced.values())):
        raise FormatError(f"{path}: expected what has replaced commitments, by name")
    if not isinstance(disclosed, dict) or not all(type(n) is int and n >= 0 for n in disclosed.values()):
        raise FormatError(f"{path}: expected what is disclosed, by name")
    published = data.get("published", {})
    if not isinstance(published, dict) or not all(isinstance(x, str) for x in published.values()):
        raise FormatError(f"{path}: expected the hashes of published proofs, by name")
    if not isinstance(directories, list) or not all(isinstance(d, str) and "\0" not in d for d in directories):
        raise FormatError(f"{path}: expected the names of directories")
