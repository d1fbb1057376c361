"""Measure what proving costs: train, prove and verify two consecutive chunks, and compare with the same net's float32 step.

    python experiments/bench.py --config tiny|digits|small|headline|wide [--steps T] [--json FILE] [--compare FILE]
    python experiments/bench.py --widths 3072,1024x8,10 --batch 64 --steps 16
    python experiments/bench.py --model lenet

An MLP with ReLU, mean squared error (or cross-entropy) and SGD is trained on random real-valued data in exact integers.
The first chunk of the chain range-checks its weights, the second relies on the bound that the first one has shown; both are proven in
zero knowledge, and verified by the command line in processes of their own. A first chain is cold: it compiles. Then ``--repeat`` more are
measured, and figures are medians. The native step runs in a process of its own before, between and after the proofs, so that
other load on the machine meets both. Nothing is left out: preparing the witness, commitments (to the dataset, to the weights
at both ends), the argument, the opening and all pads count as proving; a proof's bytes are those of its file.

Time per step is amortised: one range check for as many steps as the circuit's bounds then allow. Memory, bytes and
verification are those of the worse chunk. ``--sequential`` measures the same circuit without aggregation, see ``sequential.py``.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from common import Finished, Stopwatch, columns, environment, float_step, peak_memory, reset_peak_memory, run_process, write_json
from report import bytes_text, seconds_text

RATE, ADAPTIVE = 1 / 128, 1e-3
MANY = 2**40  # steps: "as good as never"
COMMITTING = ("compiling", "commitments")  # phases: what needs no fresh randomness is committed to beside the compiler


@dataclass(frozen=True)
class Config:
    """What is measured. widths: of the layers, input and output included; steps: of one proof.

    range_check: measure the chain's first chunk too, whose proof range-checks the weights. optimizer: a name among OPTIMIZERS;
    with "adapters" all weights are frozen, and beside each matrix one of rank ``RANK`` is trained. keep: the probability with which dropout
    keeps what a hidden layer gives; 1 for none. loss: "squares", or "cross-entropy" with integer labels. model: one of ``models.py`` or
    ``others.py``, as it is there, instead of an MLP; it has no widths here. prefer: "time" or "bytes", as for ``zkjax.train``.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    steps: int
    range_check: bool = True
    optimizer: str = "sgd"
    keep: float = 1.0
    loss: str = "squares"
    model: str = ""
    prefer: str = "time"

    @property
    def samples(self) -> int:
        """Enough for two chunks, each of which reads a shard of its own."""
        return 2 * self.steps * self.batch


CONFIGS = {
    "tiny": Config("tiny", (8, 6, 3), 4, 2),
    "digits": Config("digits", (64, 48, 32, 10), 32, 15),
    "small": Config("small", (64, 64, 10), 16, 64),
    "headline": Config("headline", (3072, *(1024,) * 8, 10), 64, 16),
    # 200 M parameters. The range check's lookup tree over all of them would not fit the memory that is allowed.
    "wide": Config("wide", (3072, *(3552,) * 16, 10), 64, 4, range_check=False),
}

OPTIMIZERS = ("sgd", "momentum", "momentum-decay", "adam", "adamw", "adapters", "adapters-adam")
LOSSES = ("squares", "cross-entropy")
RANK = 8
# Bits of activations after the point that ``zkjax.calibrate`` proposes; adapters have the formats that are chosen for them.
PROPOSED = {"sgd": 8, "momentum": 8, "momentum-decay": 8, "adam": 9, "adamw": 9}


def model_of(name: str):
    """A model that is no MLP of this file; None if there is none of this name."""
    import models
    import others

    return {**models.MODELS, **others.MODELS}.get(name)


def optimizer_of(config: Config):
    """The optimizer that a configuration names."""
    import optax

    if config.model:
        return model_of(config.model).optimizer()
    if config.optimizer == "sgd":
        return optax.sgd(RATE)
    if config.optimizer == "momentum-decay":  # decoupled
        return optax.chain(optax.trace(0.9), optax.add_decayed_weights(1e-2), optax.scale(-RATE))
    if config.optimizer == "adam":
        return optax.adam(ADAPTIVE)
    if config.optimizer == "adamw":  # as people train: warm-up, cosine decay, clipped gradients
        schedule = optax.warmup_cosine_decay_schedule(0.0, ADAPTIVE, config.steps, 4 * config.steps)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))
    momentum = optax.adam(ADAPTIVE) if config.optimizer == "adapters-adam" else optax.sgd(RATE, momentum=0.9)
    if config.optimizer == "momentum":
        return momentum
    labels = [{"w": "frozen", "b": "frozen", "up": "trained", "down": "trained"}] * (len(config.widths) - 1)
    return optax.multi_transform({"trained": momentum, "frozen": optax.set_to_zero()}, labels)


def tabulated(config: Config) -> int | None:
    """The steps for which schedules and bias corrections are tabulated."""
    return 4 * config.steps if config.model or "adam" in config.optimizer else None


def parse_widths(text: str) -> tuple[int, ...]:
    """ "3072,1024x8,10" is 3072, eight times 1024, and 10."""
    widths: list[int] = []
    for part in text.split(","):
        width, _, count = part.partition("x")
        widths += [int(width)] * int(count or 1)
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"{text!r} is not a list of at least two layer widths")
    return tuple(widths)


# ---- the net ----------------------------------------------------------------------------------------------------


def initial_params(widths: tuple[int, ...], seed: int = 0, rank: int = 0):
    """He-like initial weights, zero biases; the same at every call. rank: of adapters beside the matrices, 0 for none."""
    rng = np.random.default_rng(seed)
    params = [
        {"w": rng.standard_normal((a, b), dtype=np.float32) * np.float32(a**-0.5), "b": np.zeros(b, dtype=np.float32)}
        for a, b in zip(widths, widths[1:])
    ]
    for layer in params if rank else ():
        down = rng.standard_normal((len(layer["w"]), rank), dtype=np.float32) * np.float32(len(layer["w"]) ** -0.5)
        layer |= {"down": down, "up": np.zeros((rank, layer["w"].shape[1]), dtype=np.float32)}
    return params


def params_of(config: Config):
    """The first parameters of a configuration."""
    if config.model:
        return model_of(config.model).initial()
    return initial_params(config.widths, rank=RANK if config.optimizer.startswith("adapters") else 0)


def draw_data(config: Config):
    """Uniform inputs in [-1, 1), random targets: one-hot vectors, or labels. Of a model what it has itself."""
    if config.model:
        return model_of(config.model).samples(config.samples)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(config.samples, config.widths[0])).astype(np.float32)
    labels = rng.integers(0, config.widths[-1], config.samples).astype(np.int32)
    return x, labels if config.loss == "cross-entropy" else np.eye(config.widths[-1], dtype=np.float32)[labels]


def output(params, x, key=None, keep: float = 1.0):
    """What the net gives."""
    import jax
    import jax.numpy as jnp

    for i, layer in enumerate(params):
        beside = (x @ layer["down"]) @ layer["up"] if "down" in layer else 0
        x = x @ layer["w"] + layer["b"] + beside
        if i < len(params) - 1:
            x = jax.nn.relu(x)
            if key is not None:
                x = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, i), keep, x.shape), x / keep, 0)
    return x


def loss(params, x, y, key=None, keep: float = 1.0):
    import jax.numpy as jnp

    return 0.5 * jnp.mean(jnp.sum((output(params, x, key, keep) - y) ** 2, axis=-1))


def cross_entropy(params, x, y, key=None, keep: float = 1.0):
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(output(params, x, key, keep), y).mean()


def loss_of(config: Config):
    """``loss(params, x, y)``, with dropout ``loss(params, x, y, key)``."""
    if config.model:
        return model_of(config.model).loss
    found = cross_entropy if config.loss == "cross-entropy" else loss
    return found if config.keep == 1 else partial(found, keep=config.keep)


def traced(config: Config) -> dict:
    """What ``zkjax.trace`` is told beside loss, optimizer, parameters and batch."""
    import jax

    import zkjax

    if config.model:
        return model_of(config.model).traced()
    found = {"key": jax.random.key(0)} if config.keep < 1 else {}
    scale = PROPOSED.get(config.optimizer)
    return found | ({"precision": zkjax.Precision(activation_scale=scale)} if scale else {})


def batch_of(config: Config) -> tuple:
    """The batch that is traced, and that the native step reads."""
    arrays = draw_data(config)
    return model_of(config.model).first(arrays) if config.model else tuple(x[: config.batch] for x in arrays)


def native_steps(config: Config) -> list[float]:
    """Seconds of each of several warm steps in float32: jitted, with the parameters' buffers reused."""
    import jax
    import jax.numpy as jnp

    optimizer = optimizer_of(config)
    params, told = jax.tree.map(jnp.asarray, params_of(config)), traced(config)
    state, step = optimizer.init(params), float_step(loss_of(config), optimizer, "state" in told, donate_argnums=0)
    batch = *map(told.get, told.keys() & {"state"}), *map(jnp.asarray, batch_of(config)), *map(told.get, told.keys() & {"key"})
    seconds, started = [], time.perf_counter()
    while len(seconds) < 8 or (len(seconds) < 1000 and time.perf_counter() - started < 1):
        before = time.perf_counter()
        params, state, _ = jax.block_until_ready(step(params, state, *batch))
        seconds.append(time.perf_counter() - before)
    return seconds[3:]


class Native:
    """The native step, measured in fresh processes at several moments of a benchmark."""

    def __init__(self, config: Config):
        self.seconds: list[list[float]] = []
        self._command = [sys.executable, __file__, "--native", json.dumps(asdict(config))]

    def measure(self) -> None:
        done = run_process(self._command)
        if done.status:
            raise SystemExit(f"{done.errors}\nerror: the native step failed")
        self.seconds.append(json.loads(done.output))

    def figures(self) -> dict:
        """The median of the processes' medians: each moment counts alike, however many steps it took."""
        medians = [statistics.median(part) for part in self.seconds]
        return {"median": statistics.median(medians), "fastest": min(map(min, self.seconds)), "medians": medians}


# ---- proving ----------------------------------------------------------------------------------------------------


@contextmanager
def timed_commitments():
    """Seconds of each commitment that the prover makes, by what it holds: a dict that fills up."""
    from zkjax.prover import prove as prover

    seconds: dict[str, float] = {}
    original = prover.commit

    def timed(rows, *, kind, **options):
        started = time.perf_counter()
        committed = original(rows, kind=kind, **options)
        seconds[kind] = seconds.get(kind, 0.0) + time.perf_counter() - started
        return committed

    prover.commit = timed
    try:
        yield seconds
    finally:
        prover.commit = original


class Aggregated:
    """zkjax as it is; ``sequential.Sequential`` has the same methods. reuse_memory: see ``zkjax.prove``."""

    aggregated = True

    def __init__(self, reuse_memory: bool):
        self._reuse_memory = reuse_memory

    @staticmethod
    def steps(config: Config) -> int:
        """Training steps in one proof."""
        return config.steps

    def prove(self, circuit, run, watch):
        import zkjax

        # it is verified in a process of its own, and timed there
        return zkjax.prove(circuit, run, progress=watch, reuse_memory=self._reuse_memory, verify=False)

    @staticmethod
    def verify_command(files: list[Path], circuit: Path, proofs: list) -> list[str]:
        """What verifies files in a process of its own, with everything pinned that a verifier may know."""
        first, last = proofs[0].statement, proofs[-1].statement
        command = [sys.executable, "-m", "zkjax", "verify", *map(str, files), "--circuit", str(circuit), "--json"]
        command += ["--dataset", first.dataset.hex(), "--initial", first.initial_weights.hex(), "--seed", str(first.seed)]
        command += ["--steps", f"{first.first_step}:{last.first_step + last.steps}"]
        return command + ["--assume-bound"] * first.assumed


class Compilations:
    """Number and seconds of XLA's compilations since ``start``, from JAX's own events."""

    def __init__(self):
        import jax

        self.count, self.seconds = 0, 0.0
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, seconds: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count, self.seconds = self.count + 1, self.seconds + seconds

    def start(self) -> None:
        self.count, self.seconds = 0, 0.0


class Peaks:
    """Peak memory by phase: ``next(name)`` ends one phase and starts another. Empty where the system does not tell."""

    def __init__(self):
        self.bytes: dict[str, int] = {}
        self._name = None

    def next(self, name: str | None) -> None:
        peak = peak_memory()
        if self._name is not None and peak is not None:
            self.bytes[self._name] = max(peak, self.bytes.get(self._name, 0))
        self._name = name
        reset_peak_memory()


def prove_chunk(system, circuit, train, compilations: Compilations) -> tuple[dict, object, object]:
    """Train and prove one chunk. train: makes the run. Returns the measurements, the run and the proof."""
    import hiding

    gc.collect()
    compilations.start()
    peaks = Peaks()
    peaks.next("training")
    load = os.getloadavg()[0]
    started = time.perf_counter()
    run = train()
    trained = time.perf_counter()
    watch, cpu = Stopwatch(lambda phase: peaks.next(None if phase == "done" else phase)), time.process_time()
    with timed_commitments() as commitments, hiding.timed() as hidden:
        proof = system.prove(circuit, run, watch)
    proven = time.perf_counter()
    figures = {
        "steps": run.steps,
        "range_checked": any(run.widths),
        "train_seconds": trained - started,
        "prove_seconds": proven - trained,
        "prove_cpu_seconds": time.process_time() - cpu,
        "phases": watch.seconds,
        "commitments": commitments,
        "compilations": compilations.count,
        "compilation_seconds": compilations.seconds,
        "hiding_seconds": hidden.total(hiding.trace_trees(circuit, proof)),
        "proof_bytes": proof.nbytes,
        "security_bits": proof.security.bits,
        "peak_rss_bytes": max(peaks.bytes.values(), default=None),
        "peak_rss_bytes_by_phase": peaks.bytes,
        "load_average": load,
    }
    return figures, run, proof


class Verifier:
    """Verifies files in processes of their own."""

    def __init__(self, system, circuit, directory: Path):
        self._system, self._directory = system, directory
        self._circuit = directory / "circuit.json"
        circuit.save(self._circuit)

    def __call__(self, proofs: dict) -> Finished:
        """Verify a chain of proofs, name to proof. SystemExit if they are refused."""
        files = [self._directory / f"{name}.proof" for name in proofs]
        for file, proof in zip(files, proofs.values(), strict=True):
            proof.save(file)
        done = run_process(self._system.verify_command(files, self._circuit, list(proofs.values())))
        if done.status or not json.loads(done.output)["valid"]:
            raise SystemExit(f"{done.errors}\nerror: the verifier refused a proof with exit status {done.status}")
        return done

    def measure(self, name: str, proof, figures: dict) -> None:
        """Verify one proof alone; notes seconds of the whole process, of the verifier, and its memory."""
        done = self({name: proof})
        figures["verify_seconds"] = done.seconds
        figures["verifier_seconds"] = json.loads(done.output)["seconds"]
        figures["verify_peak_rss_bytes"] = done.peak_memory


def steps_until_range_check(circuit, run, final_bound) -> int:
    """How many steps a chain that starts like ``run`` may have: chunk after chunk relies on the bound before it.

    run: its first chunk. final_bound: after it. Bounds grow by the same amount in every chunk.
    """
    from zkjax import PrecisionError

    growth = [after - before for after, before in zip(final_bound, run.initial_bound, strict=True)]

    def allowed(chunks: int) -> bool:
        start = tuple(b + (chunks - 1) * g for b, g in zip(run.initial_bound, growth, strict=True))
        try:
            circuit.bounds(start, run.steps, run.first_step)
        except PrecisionError:
            return False
        return True

    low, high = 1, 2
    while allowed(high) and high * run.steps < MANY:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low * run.steps


def median_of(measurements: list):
    """Medians of trees of numbers; what is missing from some trees counts as 0 there."""
    first = measurements[0]
    if isinstance(first, dict):
        return {key: median_of([m.get(key, 0.0) for m in measurements]) for key in dict.fromkeys(k for m in measurements for k in m)}
    return first if isinstance(first, bool) or first is None else type(first)(statistics.median(measurements))


def worst_of(measurements: list[dict], name: str):
    """The largest of a figure; None if it is not known."""
    values = [m[name] for m in measurements if m[name] is not None]
    return max(values) if values else None


def measure(
    config: Config, repeat: int, system, cache: Path | None = None, files: Path | None = None, compare_native: bool = True, say=print
) -> dict:
    """All figures of one way to prove.

    cache: a directory of compiled code to use; a cold start is then not measured. files: where the circuit and the last
    proofs stay, first.proof and later.proof. compare_native: measure the float32 step too.
    """
    import hiding
    import jax

    import zkjax
    from zkjax.circuit import coarse

    native = Native(config) if compare_native else None
    if native:
        native.measure()
    jax.config.update("jax_enable_compilation_cache", cache is not None)  # what is cold is to be cold
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    reset_peak_memory()
    batch = batch_of(config)
    started = time.perf_counter()
    circuit = zkjax.trace(
        loss_of(config),
        optimizer_of(config),
        params_of(config),
        batch=batch,
        chunk=config.steps,
        steps=tabulated(config),
        **traced(config),
    )
    data = zkjax.Dataset.of(circuit, draw_data(config))
    steps = system.steps(config)
    counts = circuit.counts(steps, coarse.first(circuit, steps)[0] if config.range_check else None)
    say(
        f"{config.name}: {'-'.join(map(str, config.widths)) or 'its own net'}, {config.optimizer}, batch {config.batch}, "
        f"{steps} step{'s' * (steps > 1)} in a proof; "
        f"{counts.parameters:,} parameters, {counts.cells:,} committed cells, {counts.lookups:,} lookups; "
        f"traced in {time.perf_counter() - started:.1f} s"
    )
    for note in circuit.notes:
        say(f"note: {note}")
    if not config.range_check:
        say("The first chunk is trained but not proven: these are proofs without a range check of the weights (--no-range-check).")

    def begin():
        options = {"state": traced(config).get("state"), "seed": 0, "shard_size": steps * config.batch, "prefer": config.prefer}
        return zkjax.train(circuit, params_of(config), data, steps=steps, **options)

    def go_on(before: list):
        """The chunk after ``before``, a list of one run, which is then given up: it is not in memory while this one is proven."""
        return zkjax.train(circuit, before.pop(), None, steps=steps)

    def proven(kind: str, temperature: str, train):
        figures, run, proof = prove_chunk(system, circuit, train, compilations)
        phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in figures["phases"].items())
        say(
            f"{kind} chunk, {temperature}: train {seconds_text(figures['train_seconds'])}, prove {seconds_text(figures['prove_seconds'])} "
            f"({phases}), {bytes_text(figures['proof_bytes'])}, peak {bytes_text(figures['peak_rss_bytes'])}, "
            f"load {figures['load_average']:.1f}, {figures['compilations']} compilations"
        )
        return figures, run, proof

    setup_peak, compilations = peak_memory(), Compilations()
    cold: dict[str, dict] = {}
    warm: dict[str, list[dict]] = {"first": [], "later": []} if config.range_check else {"later": []}
    run, distance, discarded = None, None, 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) if files is None else files
        directory.mkdir(parents=True, exist_ok=True)
        verifier = Verifier(system, circuit, directory)
        while len(warm["later"]) < repeat:
            temperature, proofs, found = ("warm" if cold else "cold"), {}, {}
            if config.range_check:
                run = None  # a fresh chain; the last one's commitments are freed before this one's are made
                found["first"], run, proofs["first"] = proven("first", temperature, begin)
            elif run is None or run.first_step + 2 * steps >= distance:
                run = begin()
            distance = distance or steps_until_range_check(circuit, run, run.final_bound)
            before, run = [run], None
            found["later"], run, proofs["later"] = proven("later", temperature, lambda before=before: go_on(before))
            for kind, figures in found.items():
                verifier.measure(kind, proofs[kind], figures)
            if config.range_check:
                chain = verifier(proofs)
            if not cold:
                cold = found
                continue
            if native:
                native.measure()
            # along one chain a growing bound may change a kernel; what had to compile is not warm, so another chunk is tried
            if found["later"]["compilations"] and not config.range_check and discarded < 2 * repeat:
                discarded += 1
                continue
            for kind, figures in found.items():
                warm[kind].append(figures)
    chunks = {kind: median_of(measurements) for kind, measurements in warm.items()}
    for kind, chunk in chunks.items():  # worst cases, cold ones included
        chunk["compiled"] = max(m["compilations"] for m in warm[kind])
        chunk["peak_rss_bytes_by_phase"] = cold[kind]["peak_rss_bytes_by_phase"]  # later ones begin with what the first one left
        for name in ("proof_bytes", "peak_rss_bytes", "verify_peak_rss_bytes"):
            chunk[name] = worst_of([cold[kind], *warm[kind]], name)
        chunk["security_bits"] = min(m["security_bits"] for m in [cold[kind], *warm[kind]])
        chunk["hiding_bytes"] = hiding.hiding_bytes(circuit, proofs[kind])
    result = summary(config, steps, counts.parameters, native.figures() if native else None, chunks, distance)
    earliest = next(iter(chunks))
    extra = {kind: cold[kind]["prove_seconds"] - chunks[kind]["prove_seconds"] for kind in chunks}
    result |= {
        "repeat": repeat,
        "chunks_that_compiled_again": discarded,
        "aggregated": system.aggregated,
        "circuit": circuit.digest().hex(),
        "committed_cells": counts.cells,
        "lookups": counts.lookups,
        "cold_seconds": None if cache else extra[earliest],
        "cold_seconds_of_later_chunk": None if cache else extra["later"],
        "cold_training_seconds": None if cache else cold[earliest]["train_seconds"] - chunks[earliest]["train_seconds"],
        "setup_peak_rss_bytes": setup_peak,
        "verify_chain_seconds": chain.seconds if config.range_check else None,
        "coldest": {name: cold[earliest][name] for name in ("compilations", "compilation_seconds")},
        "cold": cold,
        "warm": warm,
    }
    result["peak_rss_bytes"] = max(filter(None, [setup_peak, result["peak_rss_bytes"]]), default=None)
    return result


def summary(config: Config, steps: int, parameters: int, native: dict | None, chunks: dict[str, dict], distance: int) -> dict:
    """The figures that bars are set for. native: None where it was not measured. chunks: medians of "first" (if measured)
    and "later"."""

    def amortised(get) -> float:
        later = get(chunks["later"]) / steps
        if "first" not in chunks:
            return later
        return later + (get(chunks["first"]) / steps - later) * steps / distance

    train, prove = (amortised(lambda c, name=name: c[name]) for name in ("train_seconds", "prove_seconds"))
    names = ("proof_bytes", "verify_seconds", "verifier_seconds", "peak_rss_bytes")
    worst = {name: worst_of(list(chunks.values()), name) for name in names}
    for chunk in chunks.values():
        chunk["overhead"] = (chunk["train_seconds"] + chunk["prove_seconds"]) / steps / native["median"] if native else None
    return {
        "config": config.name,
        "widths": list(config.widths),
        "optimizer": config.optimizer,
        "keep": config.keep,
        "batch": config.batch,
        "parameters": parameters,
        "steps": steps,
        "steps_until_range_check": distance,
        "range_check_measured": "first" in chunks,
        "native_step_seconds": native["median"] if native else None,
        "native": native,
        "train_seconds_per_step": train,
        "commit_seconds_per_step": amortised(lambda c: sum(c["phases"].get(name, 0) for name in COMMITTING)),
        "prove_seconds_per_step": prove,
        "overhead": (train + prove) / native["median"] if native else None,
        **worst,
        "proof_bytes_per_step": worst["proof_bytes"] / steps,
        "security_bits": min(c["security_bits"] for c in chunks.values()),
        "zero_knowledge": True,
        "chunks": chunks,
    }


# ---- reports ----------------------------------------------------------------------------------------------------


def times_text(value) -> str:
    return "-" if value is None else f"{value:.1f} x"


def report(result: dict) -> str:
    """The figures for people."""
    chunks, steps = result["chunks"], result["steps"]
    rows = [("medians of warm proofs", *chunks)]
    rows.append(("  steps", *(str(c["steps"]) for c in chunks.values())))
    rows.append(("  range check of the weights", *("yes" if c["range_checked"] else "no" for c in chunks.values())))

    def line(name, text, get):
        rows.append((name, *(text(get(c)) for c in chunks.values())))

    line("  exact training, a step", seconds_text, lambda c: c["train_seconds"] / steps)
    line("  proving, a step", seconds_text, lambda c: c["prove_seconds"] / steps)
    line("  (train + prove) / native", times_text, lambda c: c["overhead"])
    line("  proving, the chunk", seconds_text, lambda c: c["prove_seconds"])
    line("  the same, CPU time", seconds_text, lambda c: c["prove_cpu_seconds"])
    for phase in next(iter(chunks.values()))["phases"]:
        line(f"    {phase}", seconds_text, lambda c: c["phases"][phase])  # noqa: B023
        if phase == "commitments":
            kinds = list(dict.fromkeys(kind for c in chunks.values() for kind in c["commitments"]))
            for kind in kinds:
                line(f"      of {kind}", seconds_text, lambda c: c["commitments"].get(kind))  # noqa: B023
    line("  of that, only for zero knowledge (see hiding.py)", seconds_text, lambda c: c["hiding_seconds"])
    line("  proof", bytes_text, lambda c: c["proof_bytes"])
    line("    of that, only for zero knowledge", bytes_text, lambda c: sum(c["hiding_bytes"].values()))
    line("  verifying, whole process", seconds_text, lambda c: c["verify_seconds"])
    line("  verifying, the verifier's own time", seconds_text, lambda c: c["verifier_seconds"])
    line("  verifying, peak memory", bytes_text, lambda c: c["verify_peak_rss_bytes"])
    line("  training and proving, peak memory", bytes_text, lambda c: c["peak_rss_bytes"])
    for phase in next(iter(chunks.values()))["peak_rss_bytes_by_phase"]:
        line(f"    {phase} (of the first chain)", bytes_text, lambda c: c["peak_rss_bytes_by_phase"][phase])  # noqa: B023
    line("  proven security", "{:.1f} bits".format, lambda c: c["security_bits"])
    between = result["steps_until_range_check"]
    reach = "more than 2^39 steps" if between >= MANY // 2 else f"{between:,} steps"
    native = result["native"] or {"median": None, "fastest": None, "medians": []}
    facts = [
        ("parameters", f"{result['parameters']:,}"),
        ("native float32 step: median, fastest", f"{seconds_text(native['median'])}, {seconds_text(native['fastest'])}"),
        ("  medians of its processes", ", ".join(map(seconds_text, native["medians"]))),
        ("one range check of the weights lasts for", reach),
        ("exact training, a step, amortised", seconds_text(result["train_seconds_per_step"])),
        ("commitments, a step, amortised", seconds_text(result["commit_seconds_per_step"])),
        ("proving, a step, amortised (commitments included)", seconds_text(result["prove_seconds_per_step"])),
        ("overhead: (train + prove) / native", times_text(result["overhead"])),
        ("verifying, whole process, worse chunk", seconds_text(result["verify_seconds"])),
        ("proof, worse chunk", bytes_text(result["proof_bytes"])),
        ("proof, worse chunk, a step", bytes_text(result["proof_bytes_per_step"])),
        ("peak memory", bytes_text(result["peak_rss_bytes"])),
        ("  before training: data, parameters, tracing", bytes_text(result["setup_peak_rss_bytes"])),
        ("cold start, extra seconds of the first proof", seconds_text(result["cold_seconds"])),
        ("  compilations in it, seconds of the compiler", "{compilations}, {compilation_seconds:.1f} s".format(**result["coldest"])),
        ("proven security of one proof", f"{result['security_bits']:.1f} bits"),
        ("zero knowledge", "yes" if result["zero_knowledge"] else "NO"),
        ("load average of the machine, before and after", ", ".join(f"{load:.1f}" for load in result["load_average"])),
    ]
    notes = [*result["notes"]]
    if not result["range_check_measured"]:
        notes.append("Chunks without a range check only; figures per step are theirs.")
    return "\n".join([columns(rows), "", columns(facts), *notes])


COMPARED = (
    ("native_step_seconds", seconds_text),
    ("train_seconds_per_step", seconds_text),
    ("commit_seconds_per_step", seconds_text),
    ("prove_seconds_per_step", seconds_text),
    ("overhead", times_text),
    ("verify_seconds", seconds_text),
    ("proof_bytes", bytes_text),
    ("proof_bytes_per_step", bytes_text),
    ("peak_rss_bytes", bytes_text),
    ("cold_seconds", seconds_text),
    ("security_bits", "{:.1f}".format),
)


def comparison(before: dict, after: dict) -> str:
    """The change against an earlier result: old, new, new over old."""
    rows = [("", "before", "now", "ratio")]
    for name, text in COMPARED:
        a, b = before.get(name), after.get(name)
        if a is not None and b is not None:
            rows.append((name, text(a), text(b), f"{b / a:.3g}" if a > 0 else "-"))
    for kind in (kind for kind in after["chunks"] if kind in before["chunks"]):
        for phase in after["chunks"][kind]["phases"]:
            if phase in before["chunks"][kind]["phases"]:
                a, b = (r["chunks"][kind]["phases"][phase] / r["steps"] for r in (before, after))
                rows.append((f"{kind} chunk, a step: {phase}", seconds_text(a), seconds_text(b), f"{b / a:.3g}" if a > 0 else "-"))
    lines = [f"before: {described(before)}", f"now:    {described(after)}"]
    if before["circuit"] != after["circuit"]:
        lines.append("The two are about different circuits.")
    return "\n".join([*lines, columns(rows)])


def described(result: dict) -> str:
    """What a result is about."""
    kind = "" if result["aggregated"] else ", without aggregation"
    trained = result["optimizer"] if result.get("keep", 1) == 1 else f"{result['optimizer']}, dropout that keeps {result['keep']:g}"
    return f"{result['config']} {result['widths'] or ''}, {trained}, batch {result['batch']}, {result['steps']} steps in a proof{kind}"


def parse(arguments: list[str] | None):
    """The command line: (namespace, config)."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", choices=CONFIGS, help="a named configuration (default: tiny, unless --widths is given)")
    parser.add_argument("--model", metavar="NAME", help="one of models.py or others.py, with its own batch, steps and optimizer")
    parser.add_argument("--widths", help="layer widths such as 3072,1024x8,10")
    parser.add_argument("--batch", type=int, help="samples of a step")
    parser.add_argument("--steps", type=int, help="training steps in one proof")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="how it is trained (default: sgd)")
    parser.add_argument("--loss", choices=LOSSES, help="what is minimised (default: squares)")
    parser.add_argument("--prefer", choices=("time", "bytes"), help="proofs that are made fast, or small ones (default: time)")
    parser.add_argument("--keep", type=float, help="dropout after every hidden layer, which keeps with this probability")
    parser.add_argument("--no-range-check", action="store_true", help="train the first chunk without proving it: later chunks only")
    parser.add_argument("--repeat", type=int, default=3, help="warm proofs of each kind (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show the change against an earlier --json file")
    parser.add_argument("--sequential", action="store_true", help="the baseline without aggregation, see sequential.py")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep compiled code there and use it; no cold start is then measured")
    parser.add_argument("--no-native", action="store_true", help="do not measure the float32 step")
    parser.add_argument("--files", type=Path, metavar="DIR", help="leave the circuit and the last proofs there")
    parser.add_argument(
        "--no-reuse-memory", action="store_true", help="prove with reuse_memory=False: less memory between proofs, more time"
    )
    parser.add_argument("--native", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    config = CONFIGS[parsed.config or "tiny"]
    if parsed.model:
        model = model_of(parsed.model) or parser.error(f"--model: there is no model {parsed.model}")
        config = Config(parsed.model, (), model.batch, model.steps, optimizer="its own optimizer", model=parsed.model)
    if parsed.widths:
        try:
            config = replace(config, name=parsed.config or "free", widths=parse_widths(parsed.widths), batch=64, steps=16, range_check=True)
        except ValueError as error:
            parser.error(str(error))
    names = ("batch", "steps", "optimizer", "keep", "loss", "prefer")
    changes = {name: value for name in names if (value := getattr(parsed, name)) is not None}
    config = replace(config, **changes, range_check=config.range_check and not parsed.no_range_check)
    if parsed.compare and not parsed.compare.is_file():
        parser.error(f"--compare: there is no file {parsed.compare}")
    if not 0 < config.keep <= 1:
        parser.error("--keep is a probability above 0")
    if min(config.batch, config.steps, parsed.repeat) < 1:
        parser.error("batch, steps and repeat are at least 1")
    return parsed, config


def main(arguments: list[str] | None = None) -> int:
    parsed, config = parse(arguments)
    if parsed.native:
        given = json.loads(parsed.native)
        print(json.dumps(native_steps(Config(**given | {"widths": tuple(given["widths"])}))))
        return 0
    import zkjax

    before = json.loads(parsed.compare.read_text(encoding="utf-8")) if parsed.compare else None
    load, notes = os.getloadavg()[0], []
    if load > 0.5:
        notes.append(f"Other work was running when this began (load average {load:.1f}); times are not those of an idle machine.")
    try:
        system = Aggregated(not parsed.no_reuse_memory)
        if parsed.sequential:
            from sequential import Sequential

            system = Sequential(not parsed.no_reuse_memory)
        result = measure(config, parsed.repeat, system, parsed.cache, parsed.files, not parsed.no_native)
    except zkjax.ZkjaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result["notes"] = result.get("notes", []) + notes
    result["load_average"] = [load, os.getloadavg()[0]]
    result["environment"] = environment()
    print(f"\n{report(result)}")
    place = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in place["versions"].items())
    print(f"{place['machine']['processor']}, {place['machine']['cores']} cores, {place['machine']['memory'] / 2**30:.0f} GiB; {versions}")
    if parsed.json:
        write_json(parsed.json, result)
    if before is not None:
        print(f"\n{comparison(before, result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
