"""Trainings that are killed by the system at random moments, again and again, until they are trained and proven.

    python tests/kills.py --kills 1000 --seed 0

Each process traces, trains and proves in one folder; it gets SIGKILL somewhere on the way, and the next one goes on. Once a folder is
finished everything that has to hold of it is checked (``folders.holds``), and another one begins. A second process tries to work in the
folder now and then, and is refused or does the rest.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from folders import begun, holds, proven, small_geometry, traced

import zkjax
from zkjax.errors import RunError

STEPS = 6
SHORTEST, LONGEST = 0.2, 4.0  # seconds until a kill
SLOWER = 1.05  # by which these grow with each kill: on any machine the end is reached


def work(folder: Path) -> None:
    """What one process does, in a fork of this one: where JAX has not started yet, it starts there."""
    with small_geometry():
        training = begun(folder, *traced(STEPS))
        training.train(STEPS, keep_every=2, progress=None)
        proven(training)


def started(folder: Path) -> int:
    """The number of a process that works there. Its status is 0 at the end, and 3 where another one is at work."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(folder)
        status = 0
    except RunError as error:
        status = 3 if "in this folder already" in str(error) else 1
        print(error, file=sys.stderr)
    finally:
        os._exit(status)


def killed(folder: Path, draw: random.Random) -> int:
    """Kills until the folder is finished. Returns how many."""
    for kills in itertools.count():
        children = [started(folder) for _ in range(1 + (draw.random() < 0.1))]
        end = time.monotonic() + draw.uniform(SHORTEST, LONGEST * SLOWER**kills)
        statuses = dict.fromkeys(children)
        while time.monotonic() < end and None in statuses.values():
            for child in (child for child, status in statuses.items() if status is None):
                found, status = os.waitpid(child, os.WNOHANG)
                statuses[child] = os.waitstatus_to_exitcode(status) if found else None
            time.sleep(0.01)
        for child in (child for child, status in statuses.items() if status is None):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if 1 in statuses.values():
            raise SystemExit(f"a process failed in {folder}")
        if 0 in statuses.values():
            return kills


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    draw, kills, finished, traces = random.Random(parsed.seed), 0, 0, []
    with tempfile.TemporaryDirectory() as base:
        while kills < parsed.kills or not finished:
            folder = Path(base) / f"{finished}"
            kills += killed(folder, draw)
            holds(folder, zkjax.Circuit.load(folder / "circuit.json"), STEPS)
            traces += [zkjax.Proof.load(path).body[:32] for path in (folder / "proofs").iterdir()]
            finished += 1
            print(f"{kills} kills, {finished} trainings came to their end, {len(traces)} proofs", flush=True)
    if len(set(traces)) != len(traces):
        raise SystemExit("two proofs share their randomness")
    return 0


if __name__ == "__main__":
    sys.exit(main())
