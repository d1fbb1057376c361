"""Progress of long work: named phases, as a bar on a terminal or as calls of the user's function."""

import sys
import time


class Phases:
    """``next(name)`` starts a phase. report: "auto" (a bar, where a terminal or notebook is there), None, or f(name, number, count)."""

    def __init__(self, report, count: int):
        self.count, self.number = count, 0
        self.seconds: dict[str, float] = {}
        self._name, self._since = None, 0.0
        self._bar, self._call = None, report if callable(report) else None
        if report == "auto" and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            from tqdm import tqdm

            self._bar = tqdm(total=count, desc="proving", unit="phase", leave=False)

    def next(self, name: str) -> None:
        """End the current phase and start the next one."""
        now = time.perf_counter()
        if self._name is not None:
            self.seconds[self._name] = now - self._since
        self._name, self._since = name, now
        self.number += 1
        if self._bar is not None:
            self._bar.set_description(f"proving: {name}")
            self._bar.update(min(1, self.count - self._bar.n))
        if self._call is not None:
            self._call(name, self.number, self.count)

    def note(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()
