"""How far a training in a folder is: read from its files alone, while others write them. No JAX."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .. import files
from ..commitment.geometry import Geometry
from ..commitment.keys import BUDGETS
from ..commitment.openings import FILE as OPENINGS
from ..commitment.openings import LIMIT
from ..display import Sheet, Shown, Table
from ..errors import FormatError, RunError
from .records import PROVING, TRAINING, Records

RECENT = 50  # chunks by whose times the rest is estimated


@dataclass(frozen=True)
class Standing(Shown):
    """What is done of a training, and what is left.

    steps, goal:      trained, and to be trained in all, as far as that was said.
    chunks:           trained. published: their proofs, all of them verified. waiting: verified proofs that wait for earlier ones.
    refused, failed:  proofs that did not verify, and attempts at proofs that ended in an error.
    training, proving: whether a process does that now.
    dataset:          openings left of the commitment to the dataset's most used shard, of how many, and how often one was replaced.
    seconds_to_train, seconds_to_prove: the rest, at the pace of the last chunks; None where nothing is known of it.
    """

    path: Path
    steps: int
    goal: int
    chunks: int
    published: int
    waiting: int
    refused: int
    failed: int
    training: bool
    proving: bool
    dataset: tuple[int, int, int]
    seconds_to_train: float | None
    seconds_to_prove: float | None

    @staticmethod
    def of(path) -> "Standing":
        """Read a folder. Raises: RunError - no training is there; FormatError - malformed files."""
        records = Records(path)
        if records.settings() is None:
            raise RunError(f"{path}: no training is here")
        chunks, events = records.count(), records.events()
        last = records.chunk(chunks - 1) if chunks else None
        steps = 0 if last is None else last["first_step"] + last["steps"]
        goal = max(steps, next((e["steps"] for e in reversed(events) if e["event"] == "goal" and type(e.get("steps")) is int), 0))
        published = len(records.published())
        step_seconds = _mean([(e["seconds"], e["steps"]) for e in events if e["event"] == "trained" and _timed(e, "steps")])
        chunk_seconds = _mean([(e["seconds"], 1) for e in events if e["event"] == "published" and _timed(e)])
        to_come = chunks - published + (0 if last is None else -(-(goal - steps) // last["steps"]))
        return Standing(
            records.path,
            steps,
            goal,
            chunks,
            published,
            sum(1 for _ in records.proven.glob("chunk-*.proof")),
            *(sum(e["event"] == name for e in events) for name in ("refused", "failed")),
            *(records.busy(what) for what in (TRAINING, PROVING)),
            _dataset(records, last),
            None if step_seconds is None else step_seconds * (goal - steps),
            None if chunk_seconds is None else chunk_seconds * to_come,
        )

    def sheet(self) -> Sheet:
        """For people."""
        left, of, replaced = self.dataset
        renewed = f", replaced {replaced} time{'s' * (replaced > 1)}" if replaced else ""
        rows = (
            ("steps trained", f"{self.steps:,} of {self.goal:,}", _work(self.training, self.seconds_to_train, self.steps < self.goal)),
            ("chunks trained", f"{self.chunks:,}", ""),
            ("chunks proven and verified", f"{self.published + self.waiting:,}", ""),
            ("chunks published", f"{self.published:,}", _work(self.proving, self.seconds_to_prove, self.published < self.chunks)),
            ("proofs refused, attempts failed", f"{self.refused:,}, {self.failed:,}", ""),
            ("openings left of the dataset's commitment", f"{left} of {of}{renewed}", "a proof replaces it in good time"),
        )
        return Sheet(f"Training in {self.path}", (Table(rows, left=(0, 2)),))


def _work(now: bool, seconds: float | None, left: bool) -> str:
    """Whether somebody is at it, and for how long."""
    if not left:
        return "at work" if now else "done"
    rest = "not known yet" if seconds is None else f"about {timedelta(seconds=round(seconds))}"
    return f"{'at work' if now else 'nobody at work'}, to go: {rest}"


def _timed(event: dict, *names: str) -> bool:
    return all(type(event.get(name)) in (int, float) and event[name] >= 0 for name in ("seconds", *names))


def _mean(pairs: list[tuple[float, float]]) -> float | None:
    """Seconds of each, of the last ones."""
    pairs = pairs[-RECENT:]
    count = sum(n for _, n in pairs)
    return sum(seconds for seconds, _ in pairs) / count if count else None


def _dataset(records: Records, last: dict | None) -> tuple[int, int, int]:
    """Openings that are left of the most used shard's commitment, of how many, and how often the most replaced one was replaced."""
    if last is None:
        return BUDGETS["shard"], BUDGETS["shard"], 0
    path = records.private / OPENINGS
    try:
        counters = json.loads(files.read(path, LIMIT).decode())
        name, geometry = last["chain"]["data"]["name"], Geometry.from_json(last["chain"]["geometry"])
        budget = min(BUDGETS["shard"], geometry.max_budget)
        now = dict(counters["replaced"].get(name, {"now": []})["now"])
        current = {f"{name} {member}" + f".{generation}" * (generation > 0) for member, generation in now.items()}
        current |= {f"{name} {member}" for member in _members(counters["spent"], name) if member not in now}
        used = [count for unit, count in counters["spent"].items() if unit.rpartition(" ")[0] in current]
        return budget - max(used, default=0), budget, max(now.values(), default=0)
    except FileNotFoundError:
        raise RunError(f"{path} is missing; without its counters nothing here may be opened") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise FormatError(f"{path}: malformed") from None


def _members(spent: dict, name: str) -> set[int]:
    """Shards that were opened: of "NAME 3.1 cells" 3."""
    found = (unit.removeprefix(f"{name} ").split()[0].partition(".")[0] for unit in spent if unit.startswith(f"{name} "))
    return {int(member) for member in found if member.isdigit()}
