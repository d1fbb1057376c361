"""What lies where in the folder of a training, written whole and read back. No JAX.

    circuit.json                what is proven: public
    proofs/chunk-000000.proof   public; each appears whole, once its openings are counted
    private/                    weights, data and secret seeds: readable by its owner only
        settings.json           which circuit, and how long chunks are
        data-H.npz              the dataset's integers; H is their hash under a secret key
        weights-H.npz           the state between two chunks; H likewise
        chunk-000000.json       a chunk: all but its arrays (``saved.content_of``), and the names of its first and last state
        proven/                 proofs that have been verified, and not been published yet
        openings.json           how often each commitment was opened by a published proof (``openings.py``)
        log.jsonl               what happened when; its times decide nothing

A file is there whole or not at all (``files.write``); only lines of the log may be cut. What a chunk's record names is there
before the record, so that a kill at any moment leaves a training of so many whole chunks. Records are never changed.
"""

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import files
from ..errors import FormatError, RunError

FORMAT, VERSION = "zkjax training (private: its directory holds weights, data and secret seeds)", 1
SETTINGS = "settings.json"
LONGEST = 2**28  # bytes of a file of JSON
TRIES = 5  # at a lock, a tenth of a second apart: whoever only looks at one holds it for a moment
TRAINING, PROVING = "training", "proving"  # what one process at a time does in a folder


class Records:
    """The files of a training in the folder ``path``."""

    def __init__(self, path):
        self.path = Path(path)
        self.private = self.path / "private"
        self.proofs = self.path / "proofs"
        self.proven = self.private / "proven"
        self.circuit = self.path / "circuit.json"

    def make(self) -> None:
        """The directories."""
        self.proofs.mkdir(parents=True, exist_ok=True)
        for private in (self.private, self.proven):
            private.mkdir(exist_ok=True, mode=0o700)
            os.chmod(private, 0o700)

    # ---- chunks ---------------------------------------------------------------------------------------------------------
    def settings(self) -> dict | None:
        """Of the training; None where none is. FormatError - of another version, or malformed."""
        path = self.private / SETTINGS
        try:
            found = self._json(path)
        except FileNotFoundError:
            return None
        if found.get("format") != FORMAT:
            raise FormatError(f"{path}: not a training of zkjax")
        if found.get("version") != VERSION:
            raise FormatError(f"{path}: version {found.get('version')!r:.40}, this zkjax reads version {VERSION}")
        if type(found.get("chunk")) is not int or found["chunk"] < 1 or not isinstance(found.get("circuit"), str):
            raise FormatError(f"{path}: malformed")
        return found

    def set(self, **settings) -> None:
        files.write(self.private / SETTINGS, json.dumps({"format": FORMAT, "version": VERSION} | settings, indent=1).encode())

    def record(self, number: int) -> Path:
        """Of a chunk."""
        return self.private / f"chunk-{number:06d}.json"

    def count(self) -> int:
        """How many chunks are trained. RunError - one in between is missing."""
        for _ in range(2):  # a process that trains may add some while they are counted
            found = {path.name for path in self.private.glob("chunk-*.json")}
            missing = [n for n in range(len(found)) if self.record(n).name not in found]
            if not missing:
                return len(found)
        raise RunError(f"{self.record(missing[0])} is missing: files of this training were removed")

    def chunk(self, number: int) -> dict:
        """A chunk's record. RunError - it is not there; FormatError - malformed."""
        path = self.record(number)
        try:
            found = self._json(path)
        except FileNotFoundError:
            raise RunError(f"{self.path}: chunk {number} is not trained yet") from None
        names, losses = found.get("states"), found.get("loss_integers")
        states = isinstance(names, list) and len(names) == 2 and all(isinstance(x, str) and x == Path(x).name for x in names)
        numbers = all(type(found.get(name)) is int and found[name] >= 0 for name in ("first_step", "steps"))
        if not states or not numbers or not isinstance(losses, list) or not isinstance(found.get("keys"), list):
            raise FormatError(f"{path}: malformed")
        return found

    def add(self, number: int, content: dict) -> None:
        """The record of the next chunk, whose states are there."""
        files.write(self.record(number), json.dumps(content).encode())

    def _json(self, path: Path) -> dict:
        found = files.read_json(path, LONGEST)
        if not isinstance(found, dict):
            raise FormatError(f"{path}: not a JSON file of zkjax")
        return found

    # ---- proofs ---------------------------------------------------------------------------------------------------------
    def public(self, number: int) -> Path:
        """Where a chunk's proof is published."""
        return self.proofs / f"chunk-{number:06d}.proof"

    def waiting(self, number: int) -> Path:
        """Where it waits for that."""
        return self.proven / f"chunk-{number:06d}.proof"

    def published(self) -> list[Path]:
        """All that are, in order."""
        return sorted(self.proofs.glob("chunk-*.proof"))

    # ---- the log --------------------------------------------------------------------------------------------------------
    def log(self, event: str, **facts) -> None:
        """A line of it: numbers and texts. It begins a line, whatever a kill has left of the one before."""
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event} | facts)
        descriptor = os.open(self.private / "log.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, f"\n{line}".encode())
        finally:
            os.close(descriptor)

    def events(self) -> list[dict]:
        """All that is logged, without lines that a kill or a full disk has cut."""
        found = []
        with suppress(FileNotFoundError):
            for line in files.read(self.private / "log.jsonl", LONGEST).decode(errors="replace").splitlines():
                with suppress(ValueError, RecursionError):
                    event = json.loads(line)
                    if isinstance(event, dict) and isinstance(event.get("event"), str):
                        found.append(event)
        return found

    # ---- locks ----------------------------------------------------------------------------------------------------------
    @contextmanager
    def alone(self, what: str):
        """Of all processes, the one that does this in the folder. RunError names the other one. A killed process holds no lock."""
        descriptor = os.open(self.private / f".{what}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            for left in reversed(range(TRIES)):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not left:
                        other = os.read(descriptor, 20).decode(errors="replace")
                        told = f"{self.path}: process {other} is {what} in this folder already; wait for it, or end it first"
                        raise RunError(told) from None
                    time.sleep(0.1)
            with suppress(OSError):  # on a full disk the message lacks the number
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def busy(self, what: str) -> bool:
        """Whether some process does this in the folder now."""
        try:
            descriptor = os.open(self.private / f".{what}.lock", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
