"""The same work proven by zkjax and by ezkl: inference of a small net with its loss, and one step of SGD; side by side in one run.

    python experiments/peers.py [--full] [--ezkl-python PYTHON] [--out DIR]

ezkl is optional (``pip install '.[peers]'``, or in an environment of its own, whose Python --ezkl-python names); without it only
our side is measured, and the report says so. What zkjax can make public of an inference is its loss, so both sides prove
inference and loss. Both get the same weights and the same batch, each system runs in processes of its own, and each proof is
verified in yet another one. ezkl's structured reference string is made here: nobody could trust it, but it costs the same as
one from a ceremony. The larger steps of --full take ezkl more than 8 GB and many minutes.

OUT gets peers.json, peers.md and peers.png. Under two minutes without ezkl, a few more with it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from common import peak_memory, reset_peak_memory, run_process
from report import AMBER, BLUE, Record, bytes_text, compared, figure, parse_options, seconds_text, table

RATE = 1 / 4
SCALE = 7  # bits after the point in ezkl, its default
SEED = 0


@dataclass(frozen=True)
class Task:
    """kind: "loss", inference and the loss of its outputs, or "step", one step of SGD. widths: of the layers, without biases."""

    kind: str
    widths: tuple[int, ...]
    batch: int

    @property
    def name(self) -> str:
        what = {"loss": "inference and loss", "step": "SGD step"}[self.kind]
        return f"{what} of {'-'.join(map(str, self.widths))}, batch {self.batch}"

    @property
    def parameters(self) -> int:
        return sum(a * b for a, b in zip(self.widths, self.widths[1:]))


def tasks(full: bool) -> list[Task]:
    """What is proven."""
    if full:
        losses = [Task("loss", net, 1) for net in ((64, 64, 10), (256, 256, 256, 10))]
        return [*losses, *(Task("step", (n, n, out), batch) for n, out, batch in ((16, 4, 4), (32, 10, 8), (64, 10, 16)))]
    return [Task(kind, (16, 16, 4), 4) for kind in ("loss", "step")]


def numbers(task: Task) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Weights, inputs and targets."""
    rng = np.random.default_rng(SEED)
    weights = [(rng.standard_normal((a, b)) * a**-0.5).astype(np.float32) for a, b in zip(task.widths, task.widths[1:])]
    x = rng.uniform(-1, 1, (task.batch, task.widths[0])).astype(np.float32)
    return weights, x, np.eye(task.widths[-1], dtype=np.float32)[rng.integers(0, task.widths[-1], task.batch)]


def expected(task: Task) -> list[np.ndarray]:
    """In float64: the loss, or how much each weight changes."""
    weights, x, y = numbers(task)
    weights, activations = [w.astype(np.float64) for w in weights], [x.astype(np.float64)]
    for i, w in enumerate(weights):
        z = activations[-1] @ w
        activations.append(np.maximum(z, 0) if i < len(weights) - 1 else z)
    delta = activations[-1] - y
    if task.kind == "loss":
        return [np.array(0.5 * np.mean(np.sum(delta**2, axis=1)))]
    changes = []
    for i in reversed(range(len(weights))):
        changes.append(-RATE / task.batch * activations[i].T @ delta)
        delta = (delta @ weights[i].T) * (activations[i] > 0)
    return changes[::-1]


def relative_error(task: Task, found: list) -> float:
    """Root mean square of found less expected, over that of expected."""
    wanted = np.concatenate([x.reshape(-1) for x in expected(task)])
    differences = np.concatenate([np.asarray(x, dtype=np.float64).reshape(-1) for x in found]) - wanted
    return float(np.sqrt(np.mean(differences**2) / np.mean(wanted**2)))


# ---- zkjax ------------------------------------------------------------------------------------------------------


def prove_zkjax(task: Task, directory: Path) -> dict:
    """A worker's job: trace, run, prove twice (the first proof compiles), leave circuit and proof."""
    import jax
    import jax.numpy as jnp
    import optax

    import zkjax

    weights, x, y = numbers(task)

    def loss(weights, x, y):
        for i, w in enumerate(weights):
            x = x @ w
            x = jax.nn.relu(x) if i < len(weights) - 1 else x
        return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))

    started = time.perf_counter()
    optimizer = optax.sgd(RATE) if task.kind == "step" else optax.set_to_zero()  # frozen weights: the backward pass drops out
    circuit = zkjax.trace(loss, optimizer, weights, batch=(x, y), chunk=1)
    traced = time.perf_counter()
    run = zkjax.train(circuit, weights, (x, y), steps=1, seed=SEED)
    seconds = []
    for _ in range(2):
        before = time.perf_counter()
        proof = zkjax.prove(circuit, run, reveal=("loss",) if task.kind == "loss" else (), progress=None)
        seconds.append(time.perf_counter() - before)
    circuit.save(directory / "circuit.json")
    proof.save(directory / "proof")
    changes = [(b - a) * float(circuit.unit(p)) for p, (a, b) in enumerate(zip(run.initial, run.final))]
    found = run.float_losses if task.kind == "loss" else changes
    return {
        "setup_seconds": traced - started,
        "prove_seconds": seconds[1],
        "first_prove_seconds": seconds[0],
        "proof_bytes": (directory / "proof").stat().st_size,
        "key_bytes": (directory / "circuit.json").stat().st_size,
        "peak_rss_bytes": peak_memory(),
        "error": relative_error(task, found),
        "security_bits": proof.security.bits,
    }


def verify_zkjax(python: str, directory: Path) -> dict:
    """Verify in a process of its own."""
    done = run_process([python, "-m", "zkjax", "verify", str(directory / "proof"), "--circuit", str(directory / "circuit.json"), "--json"])
    if done.status:
        raise SystemExit(f"{done.errors}\nerror: zkjax refused its own proof")
    return {"verify_seconds": json.loads(done.output)["seconds"], "verify_process_seconds": done.seconds}


# ---- ezkl -------------------------------------------------------------------------------------------------------


def onnx_graph(task: Task):
    """The same computation as an ONNX graph. All tensors are inputs, hence private; what is claimed is the output."""
    from onnx import TensorProto, checker, helper, numpy_helper

    weights, x, y = numbers(task)
    nodes, last = [], len(weights) - 1

    def node(operation: str, inputs: list[str], output: str, **attributes) -> str:
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    activations = ["x"]
    for i in range(len(weights)):
        z = node("MatMul", [activations[-1], f"w{i}"], f"z{i}")
        activations.append(node("Relu", [z], f"a{i}") if i < last else z)
    delta = node("Sub", [activations[-1], "y"], "delta")
    constants = {}
    if task.kind == "loss":
        constants = {"axes": np.array([0, 1]), "half": np.array([0.5 / task.batch], dtype=np.float32)}
        total = node("ReduceSum", [node("Mul", [delta, delta], "squares"), "axes"], "total", keepdims=1)
        outputs = [(node("Mul", [total, "half"], "loss"), (1, 1))]
    else:
        constants = {"rate": np.array([RATE / task.batch], dtype=np.float32), "zero": np.zeros(1, dtype=np.float32)}
        outputs = []
        for i in reversed(range(len(weights))):
            gradient = node("MatMul", [node("Transpose", [activations[i]], f"at{i}", perm=[1, 0]), delta], f"g{i}")
            change = node("Mul", [gradient, "rate"], f"u{i}")
            outputs.insert(0, (node("Sub", [f"w{i}", change], f"updated{i}"), weights[i].shape))
            if i:
                back = node("MatMul", [delta, node("Transpose", [f"w{i}"], f"wt{i}", perm=[1, 0])], f"b{i}")
                mask = node("Cast", [node("Greater", [f"z{i - 1}", "zero"], f"positive{i}")], f"m{i}", to=TensorProto.FLOAT)
                delta = node("Mul", [back, mask], f"delta{i}")
    inputs = {"x": x, "y": y} | {f"w{i}": w for i, w in enumerate(weights)}
    graph = helper.make_graph(
        nodes,
        "task",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model, inputs


def prove_ezkl(task: Task, directory: Path) -> dict:
    """A worker's job: settings, keys, witness, proof, as ezkl's documentation has it; everything stays in the directory."""
    import ezkl
    import onnx

    os.chdir(directory)
    model, inputs = onnx_graph(task)
    onnx.save(model, "task.onnx")
    Path("input.json").write_text(json.dumps({"input_data": [value.reshape(-1).tolist() for value in inputs.values()]}))
    settings = ezkl.PyRunArgs()
    settings.input_visibility, settings.output_visibility, settings.param_visibility = "private", "public", "fixed"
    settings.input_scale = settings.param_scale = SCALE

    def timed(function, *arguments, **options) -> float:
        started = time.perf_counter()
        if finished(function(*arguments, **options)) is False:
            raise SystemExit(f"error: {function.__name__} failed")
        return time.perf_counter() - started

    compiling = timed(ezkl.gen_settings, "task.onnx", "settings.json", py_run_args=settings)
    compiling += timed(ezkl.calibrate_settings, "input.json", "task.onnx", "settings.json", "resources", scales=[SCALE])
    compiling += timed(ezkl.compile_circuit, "task.onnx", "compiled", "settings.json")
    log_rows = json.loads(Path("settings.json").read_text())["run_args"]["logrows"]
    reference = timed(ezkl.gen_srs, "srs", log_rows)
    keys = timed(ezkl.setup, "compiled", "vk", "pk", "srs")
    setup_peak = peak_memory()
    reset_peak_memory()
    witness = timed(ezkl.gen_witness, "input.json", "compiled", "witness.json")
    proving = timed(ezkl.prove, "witness.json", "compiled", "pk", "proof.json", "srs")
    proof = json.loads(Path("proof.json").read_text())
    outputs = [np.array(list(map(float, x))) for x in proof["pretty_public_inputs"]["rescaled_outputs"]]
    weights = [w.reshape(-1).astype(np.float64) for name, w in inputs.items() if name.startswith("w")]
    found = outputs if task.kind == "loss" else [a - b for a, b in zip(outputs, weights, strict=True)]
    return {
        "setup_seconds": compiling + keys,
        "reference_string_seconds": reference,
        "prove_seconds": witness + proving,
        "proof_bytes": len(bytes.fromhex(proof["hex_proof"].removeprefix("0x"))),
        "key_bytes": Path("pk").stat().st_size,
        "verifying_key_bytes": Path("vk").stat().st_size,
        "log_rows": log_rows,
        "peak_rss_bytes": peak_memory(),
        "setup_peak_rss_bytes": setup_peak,
        "error": relative_error(task, found),
    }


def finished(result):
    """Some of ezkl's functions are coroutines, in some versions."""
    import asyncio
    import inspect

    async def wait():
        return await result

    return asyncio.run(wait()) if inspect.isawaitable(result) else result


def verify_ezkl_here(task: Task, directory: Path) -> dict:
    """A worker's job."""
    import ezkl

    os.chdir(directory)
    started = time.perf_counter()
    if not finished(ezkl.verify("proof.json", "settings.json", "vk", "srs")):
        raise SystemExit("error: ezkl refused its own proof")
    return {"verify_seconds": time.perf_counter() - started}


def verify_ezkl(python: str, task: Task, directory: Path) -> dict:
    """Verify in a process of its own."""
    started = time.perf_counter()
    figures = work("verify_ezkl_here", python, task, directory)
    return figures | {"verify_process_seconds": time.perf_counter() - started}


def has_ezkl(python: str) -> str | None:
    """The version of ezkl that this interpreter finds; None if it lacks ezkl or onnx."""
    code = "import ezkl, onnx; from importlib.metadata import version; print(version('ezkl'))"
    try:
        done = run_process([python, "-c", code])
    except OSError:
        return None
    return done.output.strip().splitlines()[-1] if done.status == 0 else None


# ---- workers ----------------------------------------------------------------------------------------------------

WORKERS = {f.__name__: f for f in (prove_zkjax, prove_ezkl, verify_ezkl_here)}


def work(worker: str, python: str, task: Task, directory: Path) -> dict:
    """Do a worker's job in a process of its own."""
    done = run_process([python, __file__, "--worker", worker, "--task", json.dumps(asdict(task)), "--out", str(directory)])
    if done.status:
        raise SystemExit(f"{done.output[-2000:]}\n{done.errors[-4000:]}\nerror: {worker} failed on {task.name}")
    return json.loads((directory / "figures.json").read_text(encoding="utf-8"))


def measure(task: Task, system: str, python: str) -> dict:
    """Figures of one task and one system."""
    with tempfile.TemporaryDirectory() as directory:
        figures = work(f"prove_{system}", python, task, Path(directory))
        verified = verify_zkjax(python, Path(directory)) if system == "zkjax" else verify_ezkl(python, task, Path(directory))
    return figures | verified


# ---- reports ----------------------------------------------------------------------------------------------------

HEADER = ["", "", "set-up", "proving", "proof", "verifying / whole process", "peak memory", "key or circuit", "error against float64"]
COUNTS = [
    ["", "zkjax", "ezkl"],
    ["public", "the loss, or nothing of the step", "the loss, or all updated weights"],
    ["weights", "hidden, committed before and after", "private inputs, not committed; updated ones public"],
    ["data and labels", "hidden, committed", "private inputs, not committed"],
    ["set-up", "tracing; nothing to trust", "settings, calibration, keys; and a structured reference string to trust (not counted)"],
    ["proving", "commitments, argument, opening; a second proof (the first one compiles)", "witness and proof; the first one"],
    ["bytes", "the whole file, statement included", "the proof alone, without public values and keys"],
    ["security", "100 bits proven, hashes only", "pairings over BN254, about 100 bits; not post-quantum"],
    ["arithmetic", "formats chosen from the data, all bounds enforced", f"{SCALE} bits after the point, its default"],
]


def row(task: Task, system: str, f: dict) -> list[str]:
    """A line of the table."""
    first = f" (first: {seconds_text(f['first_prove_seconds'])})" if "first_prove_seconds" in f else ""
    return [
        f"{task.name} ({task.parameters:,} weights)",
        system,
        seconds_text(f["setup_seconds"]),
        seconds_text(f["prove_seconds"]) + first,
        bytes_text(f["proof_bytes"]),
        f"{seconds_text(f['verify_seconds'])} / {seconds_text(f['verify_process_seconds'])}",
        bytes_text(max(f["peak_rss_bytes"], f.get("setup_peak_rss_bytes") or 0)),
        bytes_text(f["key_bytes"]),
        f"{100 * f['error']:.2g} %",
    ]


COMPARED = (
    ("proving", "prove_seconds"),
    ("set-up and the first proof together", "first_seconds"),
    ("proof bytes", "proof_bytes"),
    ("verifying", "verify_seconds"),
    ("memory", "peak_rss_bytes"),
    ("error", "error"),
)


def differences(task: Task, ours: dict, theirs: dict) -> str:
    """A sentence on what zkjax needs more and less of than ezkl."""
    ours, theirs = (f | {"first_seconds": f["setup_seconds"] + f.get("first_prove_seconds", f["prove_seconds"])} for f in (ours, theirs))
    parts = [f"{what}: {compared(ours[name], theirs[name])}" for what, name in COMPARED if ours[name] and theirs[name]]
    return f"- {task.name}: zkjax against ezkl, {'; '.join(parts)}."


def plot(path: Path, results: dict) -> None:
    """Time, bytes and memory of both, one bar each."""
    shown = (("prove_seconds", "proving", seconds_text), ("proof_bytes", "proof", bytes_text))
    shown += (("verify_seconds", "verifying", seconds_text), ("peak_rss_bytes", "peak memory of proving", bytes_text))
    names = list(results)
    with figure(path, 2, 2, size=(6.0, 0.9 + 0.5 * len(names))) as (drawn, panels):
        for axis, (name, label, text) in zip(panels, shown):
            for j, (system, colour) in enumerate((("zkjax", BLUE), ("ezkl", AMBER))):
                at = [i for i, key in enumerate(names) if system in results[key]]
                values = [results[names[i]][system][name] for i in at]
                if name == "prove_seconds" and system == "zkjax":  # behind the warm one
                    first = [results[names[i]][system]["first_prove_seconds"] for i in at]
                    style = {"facecolor": "#dfe3ec", "edgecolor": colour, "hatch": "///", "linewidth": 0.5}
                    bars = axis.barh([i + 0.36 * j for i in at], first, 0.34, **style, label="zkjax, first proof (compiles)")
                    axis.bar_label(bars, [f"{text(v)}, first {text(f)}" for v, f in zip(values, first)], padding=3, fontsize="small")
                bars = axis.barh([i + 0.36 * j for i in at], values, 0.34, color=colour, label=system)
                if not (name == "prove_seconds" and system == "zkjax"):
                    axis.bar_label(bars, [text(v) for v in values], padding=3, fontsize="small")
            axis.set(title=label)
            axis.set_xticks([])
            axis.margins(x=0.2)
            axis.set_yticks([i + 0.18 for i in range(len(names))], names)
            axis.invert_yaxis()
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def experiment(found: list[Task], out: Path, ezkl_python: str | None, fresh: bool = False) -> int:
    """Measure, and write the report. ezkl_python: an interpreter that has ezkl, or None."""
    version = has_ezkl(ezkl_python) if ezkl_python else None
    missing = "**ezkl is not installed** (pip install ezkl onnx; or name a Python that has it by --ezkl-python): only zkjax was measured."
    if version is None:
        print(missing)
    record = Record(out, "peers", seed=SEED, settings={"ezkl": version, "scale": SCALE, "rate": RATE}, fresh=fresh)
    systems = {"zkjax": sys.executable} | ({"ezkl": ezkl_python} if version else {})
    results: dict[str, dict] = {}
    for task in found:
        for system, python in systems.items():
            f = record.measured(f"{system}: {task.name}", lambda: measure(task, system, python))  # noqa: B023
            results.setdefault(task.name, {})[system] = f
            print(f"{task.name}, {system}: proving {seconds_text(f['prove_seconds'])}, {bytes_text(f['proof_bytes'])}", flush=True)
    lines = [row(task, system, f) for task in found for system, f in results[task.name].items()]
    parts = [missing if version is None else f"zkjax beside ezkl {version}, each in processes of its own, one after the other."]
    parts.append(table(HEADER, lines))
    if version:
        parts.append("\n".join(differences(task, results[task.name]["zkjax"], results[task.name]["ezkl"]) for task in found))
        parts += ["## What each side counts", table(COUNTS[0], COUNTS[1:])]
    text = record.write("The same work in zkjax and in ezkl", parts)
    plot(out / "peers.png", results)
    print(f"\n{text}\nFiles in {out}.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ezkl-python", default=sys.executable, help="a Python that has ezkl and onnx (default: this one)")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parsed = parse_options(parser, "peers", arguments)
    if parsed.worker:
        given = json.loads(parsed.task)
        figures = WORKERS[parsed.worker](Task(**given | {"widths": tuple(given["widths"])}), parsed.out)
        (parsed.out / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
        return 0
    return experiment(tasks(parsed.full), parsed.out, parsed.ezkl_python, parsed.fresh)


if __name__ == "__main__":
    sys.exit(main())
