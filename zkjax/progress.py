"""Progress of long work, as a bar where somebody looks, or as calls of the user's function.

A bar says what is known: which part of how many is at work, and a rate only of steps that are alike. Nothing that happens to
it stops the work: an error stream may be missing, closed, or a logger's.
"""

import sys
import time

from .errors import ConfigurationError


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def watched() -> bool:
    """Whether somebody looks at the error stream: a terminal or a notebook is there."""
    try:
        return not sys.stderr.closed and ("ipykernel" in sys.modules or sys.stderr.isatty())
    except (AttributeError, ValueError):  # None, or an object that is no file
        return False


class _Report:
    """Where progress goes. report: "auto" (a bar, where somebody looks), None, or a function. The first error of a bar is its end."""

    def __init__(self, report, **options):
        if report not in ("auto", None) and not callable(report):
            raise ConfigurationError(f'progress is {report!r}; give "auto", None or a function')
        self.call = report if callable(report) else lambda *_: None
        self._bar = None
        if report == "auto" and watched():
            self.draw(lambda _: self._open(options))

    def _open(self, options) -> None:
        from tqdm import tqdm

        self._bar = tqdm(file=sys.stderr, leave=False, **options)

    @property
    def shown(self) -> bool:
        return self._bar is not None

    def draw(self, act) -> None:
        """``act(bar)``."""
        try:
            act(self._bar)
        except Exception:
            self._bar = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.shown:
            self.draw(lambda bar: bar.close())


class Phases(_Report):
    """``next(name)`` starts a phase of ``count``. A function is called as f(name, number, count)."""

    def __init__(self, report, count: int):
        super().__init__(report, total=count, bar_format="{desc} |{bar}|")
        self.count, self.number, self._since = count, 0, 0.0

    def next(self, name: str) -> None:
        """End the current phase and start the next one. The bar is as long as what is done; how long the rest takes is not known."""
        self.number += 1
        self._since = time.perf_counter()
        if self.shown:
            self.draw(lambda bar: bar.update(self.number - 1 - bar.n))
            self.draw(lambda bar: bar.set_description_str(f"proving: {name} (part {self.number} of {self.count})"))
        self.call(name, self.number, self.count)

    @property
    def seconds(self) -> float:
        """Since the current phase began."""
        return time.perf_counter() - self._since

    def note(self, text: str) -> None:
        """A line above the bar."""
        if self.shown:
            self.draw(lambda bar: bar.write(text, file=sys.stderr))


class Steps(_Report):
    """``done(n)`` of ``count`` steps. A function is called as f(n, count). The first step compiles, and is in no rate."""

    def __init__(self, report, count: int, name: str):
        super().__init__(report, total=count, desc=f"{name}: compiling", bar_format="{desc}", unit="step")
        self.count, self._name, self._started = count, name, False

    def done(self, n: int) -> None:
        """So many steps are done."""
        if self.shown:
            self.draw(lambda bar: self._show(bar, n))
        self.call(n, self.count)

    def _show(self, bar, n: int) -> None:
        if self._started:
            bar.update(n - bar.n)
            return
        self._started = True
        bar.bar_format, bar.initial = None, n
        bar.set_description_str(self._name, refresh=False)
        bar.reset()  # the clock
        bar.n = n
        bar.refresh()
