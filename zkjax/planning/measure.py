"""Measure a machine: train, prove and verify a few nets, and find the constants by which their sizes explain the seconds.

The nets are dense ones from a handful of parameters to four millions, so that each kind of work dominates somewhere. The first chunk
of each compiles; of later ones the shortest times count, which other work on the machine has disturbed least. Constants are those
of the least relative error.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..prover.prove import make_plan, prove
from ..tracing.program import trace
from ..training.train import train
from ..verifier import verify
from .estimate import sizes_of
from .machine import Machine, Sizes, shapes

# widths, batch, steps of a chunk
NETS = (((8, 6, 3), 4, 2), ((64, 48, 32, 10), 32, 16), ((512, 512, 512, 10), 32, 8), ((1024, *(1024,) * 4, 10), 64, 8))
REPEAT = 3  # later chunks of each
SHARE = ("compiling", "commitments", "weights of the opening", "opening")  # phases of a proof that its codewords take


@dataclass(frozen=True)
class Measured:
    """Sizes of a chunk that needs no compiler, and seconds: of training, of the phases that codewords take, of others, of verifying.

    cold: what its first proof took longer.
    """

    sizes: Sizes
    training: float
    codes: float
    argument: float
    verifying: float
    cold: float


def measure(say: Callable[[str], object] = print, nets=NETS) -> Machine:
    """This machine's constants; ``Machine.save`` keeps them. say: is told how far it is. Takes some minutes.

    In a process of its own, without a cache of compiled code: else nothing is cold, and its memory is not that of a first proof.
    """
    found, memory = [], 0
    for widths, batch, steps in nets:
        one = _measured(widths, batch, steps)
        memory = memory or max(0, _resident() - one.sizes.memory)  # later ones begin with what this one left
        proof = f"a warm proof of {steps} steps takes {one.codes + one.argument:.2f} s, a first one {one.cold:.0f} s more"
        say(f"{'-'.join(map(str, widths))}, batch {batch}: {proof}")
        found.append(one)
    return fitted(found, _name(), memory)


def fitted(found: list[Measured], name: str, memory: int) -> Machine:
    """The constants of the least relative error. Some chunks have steps that are compiled, and some have not.

    Kernels that one proof has compiled the next one has, so of each counts what was compiled up to it.
    """
    proof, codes = least([(1, x.sizes.codes) for x in found], [x.codes for x in found])
    argument, lookups = least([(x.sizes.argument_work, x.sizes.leaves) for x in found], [x.argument for x in found])
    small, large = ([x for x in found if x.sizes.compiled == compiled] for compiled in (False, True))
    run, stepping = least([(1, x.sizes.step_work) for x in small], [x.training for x in small])
    [compiled] = least([(x.sizes.step_work,) for x in large], [x.training - min(run, x.training / 2) for x in large])
    [verifying] = least([(x.sizes.verifying_work,) for x in found], [x.verifying for x in found])
    cold = np.cumsum([x.cold for x in found]).tolist()
    kernels, compiling = least([(1, shapes(x.sizes)) for x in found], cold)
    return Machine(name, run, stepping, compiled, proof, codes, argument, lookups, verifying, kernels, compiling, memory)


def least(rows: list[tuple[float, ...]], seconds: list[float]) -> list[float]:
    """Constants c >= 0 with the least sum of squares of (row . c - seconds) / seconds; what would be negative is 0."""
    weighted = np.array(rows, dtype=np.float64) / np.array(seconds)[:, None]
    scale, held = weighted.max(axis=0), np.ones(len(rows[0]), dtype=bool)
    constants = np.zeros(len(rows[0]))
    while held.any():
        solution = np.linalg.lstsq(weighted[:, held] / scale[held], np.ones(len(rows)), rcond=None)[0]
        constants[:] = 0
        constants[held] = solution / scale[held]
        if (constants >= 0).all():
            break
        held &= constants > 0
    return constants.tolist()


def _measured(widths: tuple[int, ...], batch: int, steps: int) -> Measured:
    """One net: a chain of chunks, the first of which is cold."""
    params = [{"w": _spread(a, b) * np.float32((2 / a) ** 0.5), "b": np.zeros(b, np.float32)} for a, b in zip(widths, widths[1:])]
    samples = (1 + REPEAT) * steps * batch
    data = [_spread(samples, n) for n in (widths[0], widths[-1])]
    circuit = trace(_loss, optax.sgd(1 / 128), params, batch=tuple(x[:batch] for x in data), chunk=steps)
    options = {"steps": steps, "progress": None}
    run = train(circuit, params, tuple(data), shard_size=steps * batch, **options)
    first, _ = _proven(circuit, run)
    warm = []
    for _ in range(REPEAT):
        started = time.perf_counter()
        run = train(circuit, run, None, **options)
        training = time.perf_counter() - started
        phases, verifying = _proven(circuit, run)
        codes = sum(phases.get(name, 0.0) for name in SHARE)
        warm.append((training, codes, sum(phases.values()) - codes, verifying))
    best = [min(times) for times in zip(*warm, strict=True)]
    return Measured(sizes_of(make_plan(run), run.chain.geometry), *best, max(0.0, sum(first.values()) - best[1] - best[2]))


def _spread(*shape: int) -> np.ndarray:
    """Numbers between -1 and 1 in which nothing repeats; what they are makes no difference to the time."""
    return np.sin(0.7 * np.arange(np.prod(shape), dtype=np.float64) ** 2).astype(np.float32).reshape(shape)


def _loss(params, x, y):
    for i, layer in enumerate(params):
        x = x @ layer["w"] + layer["b"]
        x = jax.nn.relu(x) if i < len(params) - 1 else x
    return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))


def _proven(circuit, run) -> tuple[dict[str, float], float]:
    """Seconds of each phase of a proof, and of its verification."""
    phases: dict[str, float] = {}
    last: list = []

    def watch(name: str, *_) -> None:
        now = time.perf_counter()
        if last:
            phases[last[0]] = phases.get(last[0], 0.0) + now - last[1]
        last[:] = [name, now]

    proof = prove(circuit, run, progress=watch, verify=False)
    started = time.perf_counter()
    verify(circuit, proof, assume_bound=True)
    return phases, time.perf_counter() - started


def _resident() -> int:
    """Bytes of this process at its peak; 0 where the system does not tell."""
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
    except ImportError:
        return 0


def _name() -> str:
    """Processor, usable cores, versions."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in ("zkjax", "jax", "jaxlib", "numpy"))
    return f"{model}, {cores} core{'s' * (cores != 1)}; {versions}"
