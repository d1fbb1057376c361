"""Train, prove and verify a network that reads handwritten digits: the whole path, on real data.

    python experiments/digits.py

A Flax MLP 64-48-32-10 is trained on scikit-learn's digits with cross-entropy and AdamW (warm-up, cosine decay, clipped gradients) in
exact fixed point and, beside it, by Flax and optax in floating point; the exact run is proven chunk by chunk, and the proofs are
verified by the command line in a fresh process that has neither data nor weights. Then the proofs are tampered with, and the verifier
has to notice.

The first weights are drawn from a public key, so that anybody can draw them again.

OUT gets circuit.json, source.json, precision.json, initial.disclosure, chunk-0000.proof, ... and statement.json; published/, with
these, the first weights' key, the trained model, the data and what ties them to the proofs; report.json and report.png with all
figures; and private/ with weights, data and secret randomness.
After a kill, the same command goes on where it stopped; nothing is proven twice. What the published folder shows, anybody finds out:

    python -m zkjax check runs/digits/published

That the circuit is that of this source, from shapes alone:

    python -m zkjax trace experiments/digits.py --precision runs/digits/precision.json --circuit runs/digits/circuit.json
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import images
import jax
import numpy as np
import optax
from common import Finished, Stopwatch, columns, environment, float_training, peak_memory, run_process, write_bytes, write_json
from flax import nnx
from report import RED, figure
from tqdm import tqdm

import zkjax
from zkjax.protocol.schedule import batch_indices

BATCH, STEPS, CHUNK = 32, 144, 48
LEARNING_RATE, CLIP = 5e-3, 1.0
INITIAL = "initial.disclosure"
PRECISION = zkjax.Precision(step_tolerance=0.05)  # a warm-up's first steps are tiny: Adam's signs of them need not all be right
PHASES = 6  # of one proof: witness, compiling, commitments, argument, weights of the opening, opening
STARTED = time.perf_counter()


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(64, 48, rngs=rngs)
        self.second = nnx.Linear(48, 32, rngs=rngs)
        self.last = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))


GRAPH, PARAMS = nnx.split(MLP(nnx.Rngs(0)))


def loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(GRAPH, params)(x), y).mean()


def optimizer(steps: int):
    """AdamW with a warm-up, a cosine decay, and gradients clipped by their common norm."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, max(1, steps // 10), steps)
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(schedule))


def initial_params(seed: int):
    """The first weights, drawn from a public key, and how: a zkjax.Drawing."""
    return zkjax.draw(PARAMS, seed)


def recipe(steps: int = STEPS, chunk: int = CHUNK) -> zkjax.Recipe:
    """What is proven, in shapes. With the formats that were chosen from a batch, precision.json, it gives the same circuit."""
    batch = jax.ShapeDtypeStruct((BATCH, 64), np.float32), jax.ShapeDtypeStruct((BATCH,), np.int32)
    params = jax.eval_shape(lambda: PARAMS)
    return zkjax.Recipe(loss=loss, optimizer=optimizer(steps), params=params, batch=batch, steps=steps, chunk=chunk)


def load_data():
    """((images, labels) for training, (images, labels) for testing)."""
    found = images.digits()
    return (found.x, found.y.astype(np.int32)), (found.x_test, found.y_test)


def accuracy(params, test) -> float:
    x, labels = test
    return float(np.mean(np.argmax(nnx.merge(GRAPH, params)(x), axis=-1) == labels))


def train_float(params, data, steps: int, seed: int):
    """Flax and optax in float32 on the same batches. Returns the last params and the loss of every step."""
    batches = (tuple(x[index] for x in data) for index in batch_indices(seed, len(data[0]), None, BATCH, 0, steps))
    return float_training(loss, optimizer(steps), params, batches)


def compare(circuit, data, test, steps: int, seed: int) -> tuple[dict, zkjax.Run]:
    """Train from one seed's weights and batches in floating point and in exact integers."""
    params, _ = initial_params(seed)
    trained, losses = train_float(params, data, steps, seed)
    started = time.perf_counter()
    run = zkjax.train(circuit, params, data, steps=steps, seed=seed)
    seconds = time.perf_counter() - started
    figures = {
        "seed": seed,
        "float_accuracy": accuracy(trained, test),
        "fixed_accuracy": accuracy(run.params, test),
        "exact_training_seconds": seconds,
        "float_losses": losses,
        "fixed_losses": run.float_losses.tolist(),
    }
    return figures, run


class Record:
    """report.json while it grows: settings, measurements of each chunk, the sessions that it took."""

    def __init__(self, path: Path, settings: dict, resume: bool):
        self.path = path
        self.data = {"settings": settings, "sessions": [], "chunks": {}}
        if resume:
            self.data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if self.data.get("settings") != settings:
                raise SystemExit(f"error: {path.parent} holds a run with other settings; choose another --out, or add --fresh to remove it")
        self.data["finished"] = False
        self.data["sessions"].append({})

    def save(self, **entries) -> None:
        self.data |= entries
        self.data["sessions"][-1] = {"seconds": time.perf_counter() - STARTED, "peak_memory": peak_memory()}
        write_json(self.path, self.data)


def prove_chain(circuit, params, data, out: Path, arguments, record: Record) -> tuple[zkjax.Run, list[Path]]:
    """Train and prove all chunks that are not there yet. Returns the last run, and all proof files.

    The order of saving makes a kill harmless at any moment: the run before its proof, so that opening counters live on disk; then
    the proof, whole or not at all.
    """
    private, count = out / "private", -(-arguments.steps // arguments.chunk)

    def number_of(first_step: int) -> int:
        return count - -(-(arguments.steps - first_step) // arguments.chunk)

    def prove(run):
        number = number_of(run.first_step)
        watch = Stopwatch(lambda phase: (bar.set_description(f"chunk {number}: {phase}"), bar.update(phase != "witness")))
        run.save(private)
        started, cold = time.perf_counter(), not proven
        proof = zkjax.prove(circuit, run, reveal=("loss",), progress=watch, verify=False)  # all of them are verified in the end
        seconds = time.perf_counter() - started
        record.data["chunks"][str(number)] = {
            "first_step": run.first_step,
            "steps": run.steps,
            "cold": cold,
            "seconds": seconds,
            "phases": watch.seconds,
            "bytes": proof.nbytes,
            "bits": proof.security.bits,
        }
        record.save()
        if number == 0:  # while its run, and with it the first commitment's randomness, is at hand
            zkjax.disclose(run, "initial").save(out / INITIAL)
        write_bytes(proof_path(out, number), bytes(proof))
        proven.append(number)

    run, done, proven = None, 0, []
    if (private / "run.json").exists():
        run = zkjax.Run.load(private, params)
        done = run.first_step + run.steps
        print(f"going on in {out}: {done} of {arguments.steps} steps are trained")
    finished = done and proof_path(out, number_of(run.first_step)).exists()
    with tqdm(total=PHASES * count, unit="phase", initial=PHASES * (number_of(run.first_step) + bool(finished)) if run else 0) as bar:
        if run is not None and not finished:
            prove(run)
        if done < arguments.steps:
            start = params if run is None else run
            for run in zkjax.chunks(circuit, start, data, steps=arguments.steps - done, chunk=arguments.chunk, seed=arguments.seed):
                prove(run)
        bar.set_description("all chunks are proven")
    return run, [proof_path(out, number) for number in range(count)]


def proof_path(out: Path, number: int) -> Path:
    return out / f"chunk-{number:04d}.proof"


def publish(path: Path, proofs: list[Path]) -> dict:
    """Write what the trainer publishes beside the proofs: every statement, and what a verifier may want to pin."""
    published = zkjax.Published.of({proof.name: zkjax.Proof.load(proof).statement for proof in proofs})
    published.save(path)
    return published.content


def verify(proofs: list[Path], circuit: Path, published: dict) -> tuple[list[str], Finished]:
    """The command line in a fresh process; everything that it can be told to require is required."""
    first, end = published["steps"]
    command = ["-m", "zkjax", "verify", *map(str, proofs), "--circuit", str(circuit), "--dataset", published["dataset"]]
    command += ["--initial", published["initial_weights"], "--final", published["final_weights"], "--seed", str(published["seed"])]
    command += ["--steps", f"{first}:{end}", "--statement", str(circuit.with_name("statement.json")), "--json"]
    return ["python", *command], run_process([sys.executable, *command])


def metrics(params, x, y):
    """What is shown of the trained model on the test set: how many digits it reads correctly, and which it takes for which."""
    return zkjax.classified(nnx.merge(GRAPH, params)(x), y)


def publish_folder(last, proofs: list[Path], circuit, drawing, test, folder: Path) -> Finished:
    """A folder that says all that is to be known, model, data and test set included; and what a stranger's check of it prints.

    First and last weights are both public then, and so is what the training did in all.
    """
    if not folder.exists():
        found = [*map(zkjax.Proof.load, proofs)]
        try:
            evaluation = zkjax.evaluate(last, metrics, test)
        except zkjax.BudgetError:  # after a kill: the last weights were opened by a proof that was lost, too
            found.append(zkjax.link(last, ("final",)))
            evaluation = zkjax.evaluate(last, metrics, test)
        given = {"circuit": circuit, "data": True, "evaluations": {"test": evaluation}, "test_data": True}
        given |= {"drawing": drawing, "first": zkjax.Disclosure.load(proofs[0].with_name(INITIAL)), "update": True}
        zkjax.publish(last, found, folder, **given)
    return run_process([sys.executable, "-m", "zkjax", "check", str(folder), "--json"])


def shorten(text: str, limit: int = 200) -> str:
    line = text.strip().splitlines()[-1] if text.strip() else ""
    return line if len(line) <= limit else f"{line[:limit]}..."


def tamper(proofs: list[Path], circuit: Path, published: dict) -> list[dict]:
    """Verify altered copies. Each has to be rejected with exit status 1."""
    with tempfile.TemporaryDirectory() as directory:
        altered = Path(directory) / proofs[0].name
        raw = bytearray(proofs[0].read_bytes())
        raw[len(raw) // 2] ^= 1
        altered.write_bytes(raw)
        attempts = {"one bit flipped in the middle of the first proof": [altered, *proofs[1:]]}
        if len(proofs) > 1:
            i = len(proofs) // 2
            attempts["a proof left out"] = [*proofs[:i], *proofs[i + 1 :]]
        results = []
        for name, files in attempts.items():
            _, process = verify(files, circuit, published)
            results.append({"attempt": name, "exit_status": process.status, "message": shorten(process.errors)})
    return results


def summarise(record: dict, proofs: list[Path]) -> dict:
    """The figures of the table."""
    seeds, chunks = record["seeds"], [record["chunks"][key] for key in sorted(record["chunks"], key=int)]
    warm = [c["seconds"] for c in chunks if not c["cold"]]
    means = {kind: statistics.mean(s[f"{kind}_accuracy"] for s in seeds) for kind in ("float", "fixed")}
    later_training = [s["exact_training_seconds"] for s in seeds[1:]]
    return {
        "parameters": record["parameters"],
        "steps": record["settings"]["steps"],
        "float_accuracy_mean": means["float"],
        "fixed_accuracy_mean": means["fixed"],
        "exact_training_cold_seconds": seeds[0]["exact_training_seconds"],
        "exact_training_seconds": statistics.median(later_training) if later_training else None,
        "prove_cold_chunk_seconds": chunks[0]["seconds"],
        "prove_chunk_seconds": statistics.median(warm) if warm else None,
        "prove_step_seconds": statistics.median(c["seconds"] / c["steps"] for c in chunks if not c["cold"]) if warm else None,
        "prove_all_seconds": sum(c["seconds"] for c in chunks),
        "verify_process_seconds": record["verified"]["process_seconds"],
        "verify_seconds": record["verified"]["seconds"],
        "proof_bytes": [p.stat().st_size for p in proofs],
        "peak_memory": max(s["peak_memory"] for s in record["sessions"]),
        "verify_peak_memory": record["verified"]["peak_memory"],
        "security_bits_per_proof": min(c["bits"] for c in chunks),
        "security_bits_chain": record["verified"]["bits"],
        "total_seconds": sum(s["seconds"] for s in record["sessions"]),
    }


def table(figures: dict, seeds: list[dict]) -> str:
    """The figures for people."""
    f = figures

    def seconds(value) -> str:
        return "-" if value is None else f"{value:.2f} s"

    def memory(value) -> str:
        return "-" if value is None else f"{value / 1e9:.2f} GB"

    rows = [("test accuracy", "float", "fixed point", "difference")]
    entries = [(f"  seed {s['seed']}", s["float_accuracy"], s["fixed_accuracy"]) for s in seeds]
    for name, a, b in [*entries, ("  mean", f["float_accuracy_mean"], f["fixed_accuracy_mean"])]:
        rows.append((name, f"{100 * a:.2f} %", f"{100 * b:.2f} %", f"{100 * (b - a):+.2f}"))
    sizes = f["proof_bytes"]
    facts = [
        ("parameters", f"{f['parameters']:,}"),
        ("steps, batch", f"{f['steps']}, {BATCH}"),
        ("chunks", f"{len(sizes)}"),
        ("exact training, all steps: first seed", seconds(f["exact_training_cold_seconds"])),
        ("exact training, all steps: median of the other seeds", seconds(f["exact_training_seconds"])),
        ("proving, first chunk (compiles)", seconds(f["prove_cold_chunk_seconds"])),
        ("proving, median of the chunks after it", seconds(f["prove_chunk_seconds"])),
        ("proving, the same per step", "-" if f["prove_step_seconds"] is None else f"{1000 * f['prove_step_seconds']:.0f} ms"),
        ("proving, all chunks", seconds(f["prove_all_seconds"])),
        ("verifying all proofs: the verifier's own time", seconds(f["verify_seconds"])),
        ("verifying all proofs: the whole process", seconds(f["verify_process_seconds"])),
        ("proof, mean of the chunks", f"{statistics.mean(sizes) / 1000:.1f} kB"),
        ("proofs, all", f"{sum(sizes) / 1000:.1f} kB"),
        ("peak memory, training and proving", memory(f["peak_memory"])),
        ("peak memory, verifying", memory(f["verify_peak_memory"])),
        ("proven security of each proof, at least", f"{f['security_bits_per_proof']:.1f} bits"),
        ("proven security of the chain (errors added up)", f"{f['security_bits_chain']:.1f} bits"),
        ("everything, from start to report", seconds(f["total_seconds"])),
    ]
    return columns(rows) + "\n\n" + columns(facts)


def plot(path: Path, seed: dict, chunks: list[dict]) -> None:
    """Loss curves in floating and fixed point; where each chunk's proving time went."""
    import matplotlib

    shown = [c for c in chunks if not c["cold"]] or chunks
    labels = [f"{c['first_step']}–{c['first_step'] + c['steps'] - 1}" for c in shown]
    names, base = list(shown[0]["phases"]), np.zeros(len(shown))
    with figure(path, 1, 2, size=(6.0, 4.0)) as (_, (left, right)):
        left.plot(seed["float_losses"], color="#bbbbbb", linewidth=4, label="float32 (Flax, optax)")
        left.plot(seed["fixed_losses"], color=RED, linewidth=1.2, label="exact fixed point, proven")
        left.set(xlabel="step", ylabel="training loss", title=f"Loss of each batch, seed {seed['seed']}", ylim=(0, None))
        left.legend(frameon=False)
        for name, colour in zip(names, matplotlib.colormaps["viridis"](np.linspace(0.1, 0.9, len(names)))):
            values = np.array([c["phases"][name] for c in shown])
            right.barh(labels, values, left=base, color=colour, label=name, height=0.7)
            base += values
        hidden = sum(c["seconds"] for c in chunks) - sum(c["seconds"] for c in shown)
        right.invert_yaxis()
        title = f"Proving time by phase (not shown: first chunk, {hidden:.0f} s, compiles)" if hidden else "Proving time by phase"
        right.set(xlabel="seconds", ylabel="steps of the chunk", title=title)
        right.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=len(names))


def start_again(out: Path) -> None:
    """Remove what an earlier run of this script left, and nothing else."""
    for folder in (out / "private", out / "published", *out.glob(".published.*")):
        shutil.rmtree(folder, ignore_errors=True)
    made = ("circuit.json", "source.json", "precision.json", "statement.json", INITIAL, "report.json", "report.png")
    for path in [*out.glob("chunk-*.proof"), *(out / name for name in made)]:
        path.unlink(missing_ok=True)


def experiment(arguments) -> int:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        start_again(out)
    (out / "private").mkdir(mode=0o700, exist_ok=True)

    data, test = load_data()
    params, drawing = initial_params(arguments.seed)
    batch = tuple(x[:BATCH] for x in data)
    precision = replace(PRECISION, step_tolerance=arguments.step_tolerance)
    circuit = replace(recipe(arguments.steps, arguments.chunk), params=params, batch=batch).trace(precision)
    print(circuit)
    settings = {
        "steps": arguments.steps,
        "chunk": arguments.chunk,
        "seed": arguments.seed,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "circuit": circuit.digest().hex(),
    }
    record = Record(out / "report.json", settings, resume=(out / "private/run.json").exists())
    circuit.save(out / "circuit.json")
    circuit.save_source(out / "source.json")
    circuit.precision.save(out / "precision.json")

    seeds = []
    for seed in tqdm(range(arguments.seed, arguments.seed + arguments.accuracy_seeds), desc="training, exact and float", unit="seed"):
        figures, trained = compare(circuit, data, test, arguments.steps, seed)
        if not seeds:
            whole = trained
        seeds.append(figures)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    record.save(**environment(), seeds=seeds, parameters=parameters)

    last, proofs = prove_chain(circuit, params, data, out, arguments, record)
    if not all(np.array_equal(a, b) for a, b in zip(last.final, whole.final, strict=True)):
        raise SystemExit("error: training in chunks and training at once ended in different integers")
    print("\nThe proven chunks end in the same integers as the same steps trained at once.")

    published = publish(out / "statement.json", proofs)
    command, process = verify(proofs, out / "circuit.json", published)
    print(f"\n$ {' '.join(command)}")
    if process.status:
        raise SystemExit(f"{process.errors}\nerror: the verifier refused the proofs with exit status {process.status}")
    told = json.loads(process.output)
    verified = {"process_seconds": process.seconds, "seconds": told["seconds"], "bits": told["bits"], "peak_memory": process.peak_memory}
    print(f"exit status 0: valid, {len(proofs)} proofs of {arguments.steps} steps, {told['bits']:.1f} bits, {told['seconds']:.2f} s")
    tampered = tamper(proofs, out / "circuit.json", published)
    checked = publish_folder(last, proofs, circuit, drawing, test, out / "published")
    if checked.status:
        raise SystemExit(f"{checked.errors}\nerror: the published folder was refused with exit status {checked.status}")
    conclusion = json.loads(checked.output)
    print(f"\n$ python -m zkjax check {out / 'published'}\n{conclusion['sentence']}")
    for attempt in tampered:
        print(f"\n{attempt['attempt']}: exit status {attempt['exit_status']}\n  {attempt['message']}")

    record.save(verified=verified, tampered=tampered, sentence=conclusion["sentence"], gaps=conclusion["gaps"])
    record.save(figures=summarise(record.data, proofs))
    plot(out / "report.png", seeds[0], [record.data["chunks"][key] for key in sorted(record.data["chunks"], key=int)])
    accepted_lie = any(attempt["exit_status"] != 1 for attempt in tampered)
    record.save(finished=not accepted_lie)
    print(f"\n{table(record.data['figures'], seeds)}\n\nFiles in {out}; keep {out / 'private'} to yourself.")
    return int(accepted_lie)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="where the results go (default %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps; 44 are an epoch (default %(default)s)")
    parser.add_argument("--chunk", type=int, default=CHUNK, help="steps in one proof, at most (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and batches of the proven run (default %(default)s)")
    parser.add_argument("--accuracy-seeds", type=int, default=3, help="seeds over which accuracy is averaged (default %(default)s)")
    tolerance = {"type": float, "default": PRECISION.step_tolerance, "help": "how near float32 the first steps come (default %(default)s)"}
    parser.add_argument("--step-tolerance", **tolerance)
    parser.add_argument("--fresh", action="store_true", help="remove an earlier run from OUT and start again")
    parsed = parser.parse_args(arguments)
    if min(parsed.steps, parsed.chunk, parsed.accuracy_seeds) < 1 or parsed.seed < 0:
        parser.error("steps, chunk and accuracy seeds are at least 1, the seed at least 0")
    try:
        return experiment(parsed)
    except zkjax.ZkjaxError as error:
        print(f"error: {error}\nRun again with --fresh to start a new chain.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
