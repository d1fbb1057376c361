"""What every experiment reports and how: machine, versions, commit, peak memory, time by phase, files written whole."""

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zkjax", "jax", "jaxlib", "flax", "optax", "numpy")


def environment() -> dict:
    """Where the figures of a report were measured."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "commit": commit(),
        "sources": sources(),
    }


def sources(package: Path | None = None, scripts: Path = ROOT / "experiments") -> str:
    """A digest of the code that runs, wherever it is installed: a commit says little about a checkout with changes in it."""
    import zkjax  # here: the workers of other systems run in environments without it

    digest = hashlib.sha256()
    for folder in (package or Path(zkjax.__file__).parent, scripts):
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def machine() -> dict:
    """Processor, usable cores, memory in bytes, operating system."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": model, "cores": cores, "memory": memory, "system": f"{platform.system()} {platform.machine()}"}


def commit(root: Path = ROOT) -> str | None:
    """The commit that is checked out, read from git's files; None outside a checkout."""
    git = root / ".git"
    try:
        if git.is_file():  # a worktree: "gitdir: PATH"
            git = (root / git.read_text(encoding="utf-8").split(":", 1)[1].strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        shared = git / (git / "commondir").read_text(encoding="utf-8").strip() if (git / "commondir").exists() else git
        if (shared / name).exists():
            return (shared / name).read_text(encoding="utf-8").strip()
        packed = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except (OSError, IndexError):
        return None


def peak_memory(process: int | str = "self") -> int | None:
    """Largest resident memory of a living process so far, in bytes; None where the system does not tell.

    /proc first: ``getrusage`` counts what a parent used before it started the process.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    except OSError:
        if process != "self":
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def reset_peak_memory() -> bool:
    """Let ``peak_memory`` of this process start again from what is resident now; False where the system cannot (not Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Finished:
    """A process that has ended: exit status, output, wall-clock seconds, peak memory in bytes (None: not known).

    stopped: it was ended because it took more time or memory than it was allowed.
    """

    status: int
    output: str
    errors: str
    seconds: float
    peak_memory: int | None
    stopped: bool = False


def run_process(command: list[str], *, seconds: float | None = None, memory: int | None = None) -> Finished:
    """Run a command to its end and measure it. seconds, memory (bytes): it is killed when it takes more."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started, peak, stopped = time.perf_counter(), None, False
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        while process.poll() is None:
            peak = peak_memory(process.pid) or peak
            if not stopped and ((seconds and time.perf_counter() - started > seconds) or (memory and peak and peak > memory)):
                process.kill()
                stopped = True
            time.sleep(0.005)
        took = time.perf_counter() - started
        output.seek(0), errors.seek(0)
        return Finished(process.returncode, output.read(), errors.read(), took, peak, stopped)


class Stopwatch:
    """Seconds by phase, from the ``progress`` callback of ``zkjax.prove``; ``tick`` is called once a phase."""

    def __init__(self, tick=lambda phase: None):
        self.seconds: dict[str, float] = {}
        self._tick, self._phase, self._since = tick, None, 0.0

    def __call__(self, phase: str, number: int, count: int) -> None:
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
        self._tick(phase)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically: after a kill there is the old file or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def write_json(path: Path, data) -> None:
    """Replace a JSON file atomically."""
    write_bytes(path, (json.dumps(data, indent=1) + "\n").encode())


def columns(rows: list[tuple[str, ...]]) -> str:
    """Rows as aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [[row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def float_step(loss, optimizer, stateful: bool = False, **options):
    """``step(params, kept, *batch) -> (params, kept, loss)`` in floating point, jitted with these options.

    stateful: the loss is (params, state, *batch) -> (loss, new state); the step's batch begins with the state, and it returns that pair.
    """
    import jax
    import optax

    def step(params, kept, *batch):
        found, gradient = jax.value_and_grad(loss, has_aux=stateful)(params, *batch)
        updates, kept = optimizer.update(gradient, kept, params)
        return optax.apply_updates(params, updates), kept, found

    return jax.jit(step, **options)


def float_training(loss, optimizer, params, batches, state=None, look=lambda steps, params: None):
    """Train by optax in float32: the last parameters, and all losses.

    state: of a model, as for ``zkjax.trace``. look: called after each step, with the number of steps so far and the parameters.
    """
    step, kept, losses = float_step(loss, optimizer, state is not None), optimizer.init(params), []
    for batch in batches:
        if state is None:
            params, kept, value = step(params, kept, *batch)
        else:
            params, kept, (value, state) = step(params, kept, state, *batch)
        losses.append(float(value))
        look(len(losses), params)
    return params, losses
