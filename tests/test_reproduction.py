"""The reproduction scripts in miniature: what their files say is what was measured; the arithmetic and the loaders behind them."""

import gzip
import importlib
import io
import json
import math
import os
import pickle
import struct
import sys
import tarfile
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny as tiny_nets
from flax import linen as nn
from harness import SMALL
from scipy.special import logsumexp

import zkjax
import zkjax.prover.prove
from zkjax.algebra.layout import Layout
from zkjax.commitment.commit import members
from zkjax.commitment.merkle import part_tag
from zkjax.proofs.checks import make_plan
from zkjax.protocol.schedule import batch_indices

PNG = b"\x89PNG"
HERE = {"machine", "python", "versions", "commit", "sources"}


@pytest.fixture
def out(tmp_path):
    """A directory for an experiment's files."""
    return tmp_path


def cells(text: str) -> list[list[str]]:
    """The rows of all Markdown tables in a text, headers included."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]


def written(out, name: str) -> tuple[dict, str]:
    """An experiment's JSON and Markdown; there is a plot beside them, and nothing half-written."""
    assert (out / f"{name}.png").read_bytes().startswith(PNG)
    assert not list(out.glob(".*.new"))
    data, text = json.loads((out / f"{name}.json").read_text()), (out / f"{name}.md").read_text()
    assert set(data["environment"]) == HERE and data["environment"]["sources"][:16] in text
    assert f"seed {data['seed']}" in text and data["environment"]["versions"]["jax"] in text
    return data, text


# ---- what zero knowledge costs --------------------------------------------------------------------------------


def test_bytes_of_zero_knowledge_are_those_of_the_protocol(experiment):
    """Against the sizes that PROTOCOL.md gives for messages 14 and 16 to 18, and the statement's own numbers."""
    hiding = experiment("hiding")
    circuit, _, proofs = tiny_nets.chain()
    for proof in proofs:
        log, found = hiding.messages(circuit, proof), hiding.hiding_bytes(circuit, proof)
        assert sum(size for _, size in log) == len(proof.body)
        geometry, opened = proof.statement.geometry, members(proof.statement.opened())
        q, [trace] = geometry.queries, hiding.trace_trees(circuit, proof)
        row_rounds = sum(label == "row round" for label, _ in log)
        assert found["triple values"] == 2 * 16 and found["mu"] == 16
        assert found["folded padding"] == 16 * q * max(part.budget for part in opened)
        assert found["folded pads"] == 16 * (2 * row_rounds + q)
        columns = found["salts"] / (16 * (len(opened) + 1))  # distinct queries
        assert columns == int(columns) and q / 2 < columns <= q
        assert found["columns of masks and pads"] == 8 * columns * trace.hiding
        advice = make_plan(circuit, proof.statement).advice
        needed = -(-Layout(advice).size // geometry.row)
        assert sum(math.prod(shape) for shape in advice.values()) <= needed * geometry.row and trace.entries - trace.hiding == needed
        assert 6 <= trace.hiding < trace.entries and sum(found.values()) < len(proof.body)


def test_bytes_of_zero_knowledge_without_aggregation(experiment, tiny):
    """One tree with mask rows and one masked opening for each layer."""
    hiding, sequential = experiment("hiding"), experiment("sequential")
    result, _, files = tiny["sequential"]
    circuit = zkjax.Circuit.load(files / "circuit.json")
    proof = sequential.StepProof.load(files / "later.proof")
    found = hiding.hiding_bytes(circuit, proof)
    assert found["mu"] == 16 * len(proof.bodies) and found["triple values"] == 32 * len(proof.bodies)
    assert sum(size for _, size in hiding.messages(circuit, proof)) == sum(map(len, proof.bodies))
    told = result["chunks"]["later"]
    assert told["hiding_bytes"] == found and 0 < told["hiding_seconds"] < told["prove_seconds"]


def test_only_what_hides_is_timed(experiment):
    hiding, commit = experiment("hiding"), importlib.import_module("zkjax.commitment.commit")
    replaced = [(commit, "field_stream"), (commit, "stream_blocks"), (commit, "encode_leaves"), (zkjax.prover.prove, "make_masks")]
    before = [getattr(*place) for place in replaced]
    rows = np.ones((2, SMALL.row), dtype=np.uint64)
    with hiding.timed() as found:
        commit.commit(rows, kind="weights", number=3, budget=1, geometry=SMALL, seed=bytes(32))
    tag = part_tag("weights", 3, "parameters")
    assert set(found.trees) == {tag} and found.random > 0 < found.trees[tag]
    assert [getattr(*place) for place in replaced] == before
    timed = hiding.Timed(random=1.0, trees={b"trace": 8.0, b"weights": 100.0})
    assert timed.total([hiding.Tree(b"trace", entries=16, hiding=6)]) == 1.0 + 8.0 * 6 / 16


# ---- the scripts ----------------------------------------------------------------------------------------------


def test_aggregation(experiment, out, tiny, monkeypatch):
    """The aggregated side is measured, as it is without the range check; the other side's figures are those that bench.py had."""
    aggregation, scaling = experiment("aggregation"), experiment("scaling")
    measured = aggregation.run_bench

    def run_bench(point, repeat, directory, *options):
        assert {"--no-range-check", "--no-native"} <= set(options)
        if "--sequential" in options:
            return tiny["sequential"][0]
        return measured(point, repeat, directory, *options, "--cache", os.environ["JAX_COMPILATION_CACHE_DIR"])

    monkeypatch.setattr(aggregation, "run_bench", run_bench)
    sweep = scaling.Sweep("steps", "steps of a chunk", {2: scaling.Point("8,6,3", 4, 2)})
    assert aggregation.experiment([sweep], out, 1) == 0
    data, text = written(out, "aggregation")
    together, alone = (data["figures"][aggregation.key(sweep.points[2], kind)] for kind in aggregation.KINDS)
    assert together["circuit"] == alone["circuit"] == tiny["aggregated"][0]["circuit"]
    assert (together["steps"], alone["steps"]) == (2, 1)
    for kind, figures in (("aggregated", together), ("sequential", alone)):
        file = tiny[kind][2] / "later.proof"  # of another run: only the number of distinct queries may differ
        assert abs(figures["proof_bytes"] - file.stat().st_size) < 0.1 * file.stat().st_size
        assert 0 < figures["hiding_seconds"] < figures["prove_seconds"]
        assert 0 < figures["verifier_seconds"] < figures["verify_seconds"]
    rows = {row[1]: row for row in cells(text) if row[0] == "2"}
    assert set(rows) == {"aggregated", "sequential"}
    assert rows["aggregated"][6].startswith("1 x") and rows["sequential"][6].startswith("2 x")
    assert rows["aggregated"][7] == f"{together['proof_bytes'] / 2000:.1f} kB"
    assert rows["sequential"][7] == f"{alone['proof_bytes'] / 1000:.1f} kB"
    assert f"bytes {aggregation.times(2 * alone['proof_bytes'] / together['proof_bytes'])}" in text
    before = (out / "aggregation.json").read_bytes()
    assert aggregation.experiment([sweep], out, 1) == 0  # nothing is measured again
    assert (out / "aggregation.json").read_bytes() == before


def test_the_main_job_learns_as_well_as_float(experiment):
    """On the mean of its three seeds, within a point."""
    digits = experiment("digits")
    data, test = digits.load_data()
    given = {"params": digits.initial_params(0)[0], "batch": tuple(x[: digits.BATCH] for x in data)}
    circuit = replace(digits.recipe(90, 15), **given).trace(digits.PRECISION)
    with jax.default_matmul_precision("highest"):
        seeds = [digits.compare(circuit, data, test, 90, seed)[0] for seed in range(3)]
    fixed, plain = (np.mean([s[f"{kind}_accuracy"] for s in seeds]) for kind in ("fixed", "float"))
    assert plain > 0.85 and abs(fixed - plain) < 0.01
    for seed in seeds:
        assert np.allclose(seed["fixed_losses"], seed["float_losses"], atol=0.05)
        assert abs(np.mean(seed["fixed_losses"]) / np.mean(seed["float_losses"]) - 1) < 0.02


def test_the_full_sweeps_are_the_promised_ones(experiment):
    depth, width, steps = experiment("aggregation").sweeps(True)
    assert (min(depth.points), max(depth.points)) == (2, 16)
    assert (min(width.points), max(width.points)) == (64, 1024)
    assert (min(steps.points), max(steps.points)) == (1, 64)


def test_headline(experiment, out, tiny, monkeypatch):
    """On figures that bench.py measured; and what it asks bench.py to measure is the named configuration, at either size."""
    headline, bench = experiment("headline"), experiment("bench")
    asked = []

    def run_bench(point, repeat, directory, *options):
        command = ["--widths", point.widths, "--batch", str(point.batch), "--steps", str(point.steps), *options]
        parsed, config = bench.parse(command)
        if parsed.sequential:
            return tiny["sequential"][0]
        asked.append(config)
        return tiny["aggregated"][0]

    monkeypatch.setattr(headline, "run_bench", run_bench)
    full = {name: bench.CONFIGS[config] for name, config in headline.NAMES.items()}
    assert headline.experiment(full, out, 1) == 0
    assert [replace(config, name="") for config in asked] == [replace(config, name="") for config in full.values()]
    data, text = written(out, "headline")
    assert "Reduced size" not in text
    ours = tiny["aggregated"][0]
    first, *others = cells(text)[1:]
    assert "zkjax" in first[0] and f"{ours['proof_bytes'] / ours['steps'] / 1000:.1f} kB" in first[4]
    published = {row[0]: row for row in others}
    alone = next(row for name, row in published.items() if "zkjax" in name and "without aggregation" in name)
    assert alone[4].endswith(f"{tiny['sequential'][0]['proof_bytes'] / 1000:.1f} kB")
    assert any("28.0 kB / 1.8 kB" in row[4] for row in published.values())
    assert any("47.00 s" in row[1] and "82.0 kB" in row[4] for row in published.values())
    assert any("200 M" in name and "under 60.00 s" in row[1] for name, row in published.items())
    small = {name: headline.reduced(config) for name, config in full.items()}
    assert all(len(small[n].widths) == len(full[n].widths) and small[n].range_check == full[n].range_check for n in full)
    assert headline.experiment(small, out, 1) == 0
    assert "Reduced size" in written(out, "headline")[1]


def image_set(images, samples: int, tests: int, features: int = 8):
    """Three classes that a net can learn."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, samples + tests)
    x = np.clip(0.5 + 0.4 * np.eye(3)[y] @ rng.choice([-1, 1], (3, features)) + 0.1 * rng.standard_normal((len(y), features)), 0, 1)
    x = x.astype(np.float32)
    return images.Images("three", x[:samples], y[:samples], x[samples:], y[samples:])


def test_accuracy(experiment, out):
    accuracy, images, common = experiment("accuracy"), experiment("images"), experiment("common")
    found = image_set(images, 40, 25)
    task = accuracy.Task("three", (6,), 4, 1 / 4, steps=6, every=4, chunk=2, seeds=2, proofs=1, scales=(5,))
    with jax.default_matmul_precision("highest"):
        assert accuracy.experiment([(task, found)], out) == 0
    data, text = written(out, "accuracy")
    figures = data["figures"]
    rows = [row for row in cells(text) if row[0] != "format of activations"]
    assert len(rows) == 2
    plain, fine = figures["three: float"], figures["three: scale 5"]
    assert [len(x) for x in plain["accuracies"]] == [2, 2] and [len(x) for x in fine["losses"]] == [6, 6]
    for seed in range(2):
        params, losses = sgd(accuracy.initial_params((8, 6, 3), seed), found, task, seed)
        assert np.allclose(plain["losses"][seed], losses, rtol=1e-4)
        assert np.allclose(fine["losses"][seed], losses, atol=0.05)
        hidden = np.maximum(found.x_test @ params[0]["w"] + params[0]["b"], 0)
        last = np.mean(np.argmax(hidden @ params[1]["w"] + params[1]["b"], axis=1) == found.y_test)
        assert plain["accuracies"][seed][-1] == pytest.approx(last)
    mean = np.mean([x[-1] for x in plain["accuracies"]])
    assert rows[0][3].startswith(f"{100 * mean:.2f} ±")
    price = figures["three: cost 5"]
    circuit = accuracy.trace(task, (8, 6, 3), 5)
    assert price["cells"] == circuit.counts(2).cells and price["steps"] == 2 and not price["range_checked"]
    assert rows[1][6] == f"{price['cells']:,}" and rows[1][9] == f"{price['proof_bytes'] / 1000:.1f} kB"
    assert price["security_bits"] >= 100 and price["proof_bytes"] > sum(price["phases"].values())
    assert json.loads(json.dumps(common.environment())) == data["environment"]


def sgd(params, found, task, seed: int):
    """Plain NumPy in float64: the last parameters, and the loss of each step."""
    params, losses = [{k: v.astype(np.float64) for k, v in layer.items()} for layer in params], []
    for index in batch_indices(seed, len(found.x), None, task.batch, 0, task.steps):
        x, y = found.x[index].astype(np.float64), np.eye(3)[found.y[index]]
        z = x @ params[0]["w"] + params[0]["b"]
        a = np.maximum(z, 0)
        d = (a @ params[1]["w"] + params[1]["b"] - y) / task.batch
        losses.append(0.5 * task.batch * np.sum(d**2))
        back = d @ params[1]["w"].T * (z > 0)
        for layer, left, right in ((params[1], a, d), (params[0], x, back)):
            layer["w"] = layer["w"] - task.rate * left.T @ right
            layer["b"] = layer["b"] - task.rate * right.sum(axis=0)
    return params, losses


def test_a_precision_that_is_too_coarse_is_reported(experiment, monkeypatch):
    accuracy, images = experiment("accuracy"), experiment("images")
    found = image_set(images, 40, 25)
    task = accuracy.Task("three", (6,), 4, 1 / 4, steps=4, every=2, chunk=2, seeds=1, proofs=1, scales=(5,))
    narrow = replace(accuracy.precision(5, 4), activation_bits=2)
    monkeypatch.setattr(accuracy, "precision", lambda scale, batch: narrow)
    data = found.x, np.eye(3, dtype=np.float32)[found.y]
    refused = {"scale 5": accuracy.curves(task, found, (8, 6, 3), data, 5), "cost 5": accuracy.cost(task, (8, 6, 3), data, 5)}
    assert all("refused" in entry for entry in refused.values())
    plain = accuracy.curves(task, found, (8, 6, 3), data, None)
    text = accuracy.section(task, (8, 6, 3), {"float": plain} | refused)
    assert cells(text)[-1][3] == "refused" and "Scale 5 was refused" in text


def test_peers_without_ezkl(experiment, out, capsys):
    peers = experiment("peers")
    task = peers.Task("loss", (4, 3, 2), 2)
    assert peers.experiment([task], out, sys.executable if peers.has_ezkl(sys.executable) is None else None) == 0
    assert "ezkl is not installed" in capsys.readouterr().out
    data, text = written(out, "peers")
    assert "ezkl is not installed" in text and list(data["figures"]) == [f"zkjax: {task.name}"]
    figures = data["figures"][f"zkjax: {task.name}"]
    assert figures["error"] < 0.05 and figures["security_bits"] >= 100
    assert f"{figures['proof_bytes'] / 1000:.1f} kB" in cells(text)[-1]


def test_a_missing_interpreter_has_no_ezkl(experiment, tmp_path):
    assert experiment("peers").has_ezkl(str(tmp_path / "python")) is None


@pytest.mark.parametrize("kind", ["loss", "step"])
def test_peers_prove_what_autodiff_computes(experiment, kind):
    peers = experiment("peers")
    task = peers.Task(kind, (5, 4, 4, 3), 3)
    with jax.enable_x64(True):
        weights, x, y = (jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), part) for part in peers.numbers(task))

        def loss(weights):
            hidden = x
            for w in weights[:-1]:
                hidden = jax.nn.relu(hidden @ w)
            return 0.5 * jnp.mean(jnp.sum((hidden @ weights[-1] - y) ** 2, axis=-1))

        changes = optax.sgd(peers.RATE).update(jax.grad(loss)(weights), optax.sgd(peers.RATE).init(weights))[0]
        wanted = [np.asarray(loss(weights))] if kind == "loss" else [np.asarray(g) for g in changes]
    assert all(np.allclose(a, b, atol=1e-12) for a, b in zip(peers.expected(task), wanted, strict=True))
    assert peers.relative_error(task, [2 * w for w in wanted]) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["loss", "step"])
def test_ezkls_graph_computes_the_same(experiment, kind):
    reference = pytest.importorskip("onnx.reference")
    peers = experiment("peers")
    task = peers.Task(kind, (5, 4, 4, 3), 3)
    model, inputs = peers.onnx_graph(task)
    found = reference.ReferenceEvaluator(model).run(None, inputs)
    if kind == "step":
        found = [after - before for after, before in zip(found, peers.numbers(task)[0], strict=True)]
    assert peers.relative_error(task, found) < 1e-5


def test_both_sides_stand_in_the_report(experiment, out, monkeypatch):
    """The tables, sentences and plots of both comparisons, on figures that are given."""
    peers, primitives = experiment("peers"), experiment("primitives")
    ours = dict.fromkeys(("setup_seconds", "prove_seconds", "verify_seconds", "verify_process_seconds", "error"), 2.0)
    ours |= {"proof_bytes": 3000, "key_bytes": 10, "peak_rss_bytes": 10**9}
    given = {"zkjax": ours | {"first_prove_seconds": 9.0}, "ezkl": {k: 4 * v for k, v in ours.items()}}
    monkeypatch.setattr(peers, "has_ezkl", lambda python: "1.2.3")
    monkeypatch.setattr(peers, "measure", lambda task, system, python: given[system])
    assert peers.experiment(peers.tasks(True), out, "python") == 0
    _, text = written(out, "peers")
    assert [row[1] for row in cells(text)[1:3]] == ["zkjax", "ezkl"] and "ezkl 1.2.3" in text
    assert "proving: 4 x less; set-up and the first proof together: 1.5 x less; proof bytes: 4 x less" in text

    def work(system, *rest):
        blocks = {name: {"seconds": 1.0 if system == "zkjax" else 0.5, "cold_seconds": 3.0} for name in primitives.BLOCKS}
        return blocks | ({"ntt": {"seconds": 0.25, "cold_seconds": 3.0}} if system == "zkjax" else {})

    monkeypatch.setattr(primitives, "work", work)
    assert primitives.experiment([10, 12], out, 1, ("python", "0.2.0")) == 0
    _, text = written(out, "primitives")
    assert "At 2^12, warm, zkjax is faster at: transform of 8 rows, rate 1/4 (2 x)." in text and "slower at: Merkle tree" in text
    assert len([row for row in cells(text) if "2^" in row[0]]) == 2 * len(primitives.BLOCKS)


def test_what_takes_too_long_is_stopped_and_said_so(experiment, out):
    common, primitives = experiment("common"), experiment("primitives")
    sleeping = common.run_process([sys.executable, "-c", "import time; time.sleep(1e6)"], seconds=0.3)
    assert sleeping.stopped and sleeping.status != 0
    eating = common.run_process([sys.executable, "-c", "x = b'x' * 300_000_000; import time; time.sleep(1e6)"], memory=200_000_000)
    assert eating.stopped and eating.peak_memory > 200_000_000
    assert not common.run_process([sys.executable, "-c", ""], seconds=1e6, memory=10**9).stopped
    done = {name: {"seconds": 1.0, "cold_seconds": 2.0} for name in primitives.BLOCKS}
    theirs = done | {"opening": {"stopped": "after 9 s, with 7.00 GB"}}
    text = primitives.verdict(14, done, theirs)
    assert "Nothing can be said of: opening" in text and text.count("(1 x)") == len(primitives.BLOCKS) - 1
    assert primitives.rows(14, done, theirs)[-1][3:] == ["stopped after 9 s, with 7.00 GB", "-", "-"]
    primitives.plot(out / "x.png", {14: {"zkjax": done, "pyzorch": theirs}})


@pytest.mark.parametrize(("entry", "rate"), [(0.1, 1 / 4), (0.5, 1 / 4), (1.0, 1 / 16)])
def test_rates_suit_the_size_of_the_inputs(experiment, entry, rate):
    accuracy, images = experiment("accuracy"), experiment("images")
    x, y = np.full((3, 64), entry, dtype=np.float32), np.arange(3)
    assert accuracy.stable_rate(images.Images("x", x, y, x, y)) == rate


def test_primitives_without_pyzorch(experiment, out, capsys):
    primitives = experiment("primitives")
    assert primitives.experiment([14], out, 1, None) == 0
    assert "pyzorch is not installed" in capsys.readouterr().out
    data, text = written(out, "primitives")
    figures = data["figures"]["zkjax: 2^14"]
    assert set(figures) == {*primitives.BLOCKS, "load_average"}
    for name in primitives.BLOCKS:
        assert figures[name]["seconds"] > 0 and figures[name]["cold_seconds"] > 0
    assert len(cells(text)) == 1 + len(primitives.BLOCKS)


# ---- reports --------------------------------------------------------------------------------------------------


def test_a_record_goes_on_and_never_mixes(experiment, tmp_path, monkeypatch, capsys):
    report, common = experiment("report"), experiment("common")
    calls = []

    def record(**changes):
        options = {"seed": 0, "settings": {"a": 1}} | changes
        r = report.Record(tmp_path, "x", **options)
        r.measured("point", lambda: calls.append(1) or {"seconds": float(len(calls))})
        return r

    assert record().figures["point"]["seconds"] == 1.0 and len(record().figures["point"]["load_average"]) == 2
    assert len(calls) == 1
    assert record(settings={"a": 2}).figures["point"]["seconds"] == 2.0 and "measured again" in capsys.readouterr().out
    assert record(settings={"a": 2}, fresh=True).figures["point"]["seconds"] == 3.0
    monkeypatch.setattr(common, "sources", lambda: "0" * 64)  # the code was edited, nothing committed
    assert record(settings={"a": 2}).figures["point"]["seconds"] == 4.0


def test_the_digest_of_the_sources_sees_every_change(experiment, tmp_path):
    common = experiment("common")
    for name in ("zkjax/a.py", "experiments/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    folders = tmp_path / "zkjax", tmp_path / "experiments"
    seen = {common.sources(*folders)}
    (tmp_path / "zkjax/a.py").write_text("2")
    seen.add(common.sources(*folders))
    (tmp_path / "zkjax/a.py").rename(tmp_path / "zkjax/c.py")
    seen.add(common.sources(*folders))
    (tmp_path / "README.md").write_text("3")
    assert len(seen) == 3 and common.sources(*folders) in seen


def test_tables_and_comparisons(experiment):
    report = experiment("report")
    assert report.table(["a", "b"], [[1, "x|y"]]).splitlines() == ["| a | b |", "|---|---:|", "| 1 | x\\|y |"]
    with pytest.raises(ValueError):
        report.table(["a", "b"], [[1]])
    assert [report.compared(a, 2.0) for a in (1.0, 2.1, 8.0)] == ["2 x less", "about the same", "4 x more"]
    assert (report.seconds_text(0.012), report.seconds_text(2), report.seconds_text(None)) == ("12 ms", "2.00 s", "-")
    assert [report.bytes_text(x) for x in (33.0, 1500, 2e7, 3e9)] == ["33 B", "1.5 kB", "20 MB", "3.00 GB"]


def test_a_figure_that_fails_leaves_the_old_file(experiment, tmp_path):
    report = experiment("report")
    path = tmp_path / "x.png"
    with report.figure(path, 1, 2) as (_, panels):
        panels[0].plot([1, 2], [3, 4])
        report.log_axis(panels[1], [1, 10])
    before = path.read_bytes()
    with pytest.raises(RuntimeError), report.figure(path, 1, 1):
        raise RuntimeError("while drawing")
    assert path.read_bytes() == before and before.startswith(PNG) and [p.name for p in tmp_path.iterdir()] == ["x.png"]


# ---- image sets -----------------------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    """(images of bytes, labels), for training and testing."""
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (n, 3, 4), dtype=np.uint8), rng.integers(0, 5, n, dtype=np.uint8)) for n in (7, 3)]


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(path, pictures):
    (x, y), (x_test, y_test) = pictures
    np.savez(path / "set.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return path / "set.npz"


def idx(path, pictures, packed=False):
    raw = path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, (x, y) in zip(("train", "t10k"), pictures):
        for name, array in ((f"{prefix}-images-idx3-ubyte", x), (f"{prefix}-labels-idx1-ubyte", y)):
            (raw / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    return raw


def cifar(path, pictures, packed=False):
    folder = path / "cifar-10-batches-py"
    folder.mkdir()
    (x, y), (x_test, y_test) = pictures
    parts = {"data_batch_1": (x[:4], y[:4]), "data_batch_2": (x[4:], y[4:]), "test_batch": (x_test, y_test)}
    for name, (a, b) in parts.items():
        batch = {b"data": a.reshape(len(a), -1), b"labels": [int(v) for v in b], b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    if not packed:
        return folder
    with tarfile.open(path / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    return path / "cifar.tar.gz"


def arff(path, pictures, packed=False):
    x, y = (np.concatenate(column) for column in zip(*pictures))
    head = "% a comment\n@RELATION mnist_784\n" + "".join(f"@ATTRIBUTE p{i} real\n" for i in range(12)) + "@ATTRIBUTE class {0,1,2}\n"
    rows = "\n".join(",".join([*map(str, a.reshape(-1)), f"'{b}'"]) for a, b in zip(x, y))
    text = f"{head}\n@DATA\n{rows}\n".encode()
    (path / "set.arff.gz").write_bytes(gzip.compress(text) if packed else text)
    return path / "set.arff.gz"


FORMATS = [npz, idx, lambda *a: idx(*a, packed=True), cifar, lambda *a: cifar(*a, packed=True), arff, lambda *a: arff(*a, packed=True)]


@pytest.mark.parametrize("make", FORMATS, ids=["npz", "idx", "idx.gz", "cifar", "cifar.tar.gz", "arff", "arff.gz"])
def test_every_format_gives_the_same_images(experiment, tmp_path, pictures, make):
    images = experiment("images")
    found = images.load(make(tmp_path, pictures))
    x, y = (np.concatenate(column) for column in zip(*pictures))
    samples = np.concatenate([found.x, found.x_test]), np.concatenate([found.y, found.y_test])
    largest = x.max() if make in FORMATS[5:] else 255  # ARFF does not say that entries are bytes
    assert np.allclose(samples[0], x.reshape(10, 12) / largest, atol=1e-6) and np.array_equal(samples[1], y)
    assert len(found.x) == (8 if make in FORMATS[5:] else 7) and found.x.dtype == np.float32 and found.classes == y.max() + 1


def test_image_sets_are_found_where_they_usually_are(experiment, tmp_path, pictures, monkeypatch):
    images = experiment("images")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("SCIKIT_LEARN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert images.find() is None
    cache = tmp_path / "scikit_learn_data/openml/openml.org/data/v1/download"
    cache.mkdir(parents=True)
    arff(tmp_path, pictures, packed=True).rename(cache / "52667.arff.gz")
    assert images.find().name == "mnist_784"
    (tmp_path / "data").mkdir()
    idx(tmp_path / "data", pictures)
    assert images.find().name == "MNIST"
    (tmp_path / ".keras/datasets").mkdir(parents=True)
    npz(tmp_path, pictures).rename(tmp_path / ".keras/datasets/mnist.npz")
    assert images.find().name == "mnist"


def test_a_pickle_cannot_run_code(experiment, tmp_path, pictures):
    images = experiment("images")
    folder = cifar(tmp_path, pictures)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": logsumexp, b"labels": [1]}))
    with pytest.raises(images.ImageError, match="no image set needs"):
        images.load(folder)
    command = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    (folder / "data_batch_1").write_bytes(command)
    with pytest.raises(images.ImageError, match="os.system"):
        images.load(folder)
    assert not (tmp_path / "ran").exists()


def test_broken_image_sets_are_refused(experiment, tmp_path, pictures):
    images = experiment("images")
    (x, y), test = pictures
    raw = idx(tmp_path, pictures)
    (raw / "train-images-idx3-ubyte").write_bytes(idx_bytes(x)[:-1])
    with pytest.raises(images.ImageError, match="do not hold entries"):
        images.load(raw)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\x89PNG")
    with pytest.raises(images.ImageError, match="not an IDX file"):
        images.load(raw)
    (raw / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(images.ImageError, match="train-labels"):
        images.load(raw)
    with pytest.raises(images.ImageError, match="belong together"):
        images.Images.of("x", (x, y[:-1]), test)
    with pytest.raises(images.ImageError, match="negative"):
        images.Images.of("x", (-x.astype(np.float32), y), test)
    np.savez(tmp_path / "half.npz", x_train=x, y_train=y)
    for path, content in (("empty.arff", b""), ("notes.txt", b"hello"), ("cut.tar.gz", gzip.compress(b"no archive"))):
        (tmp_path / path).write_bytes(content)
    (tmp_path / "nothing").mkdir()
    for path in ("half.npz", "empty.arff", "notes.txt", "cut.tar.gz", "nothing", "missing"):
        with pytest.raises(images.ImageError):
            images.load(tmp_path / path)
    with pytest.raises(images.ImageError, match="not one of"):
        images.read_batch(pickle.dumps([1, 2]))
    assert images.read_idx(idx_file(tmp_path, np.arange(6, dtype=np.uint8).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]


def idx_file(path, array: np.ndarray):
    buffer = io.BytesIO(idx_bytes(array))
    (path / "array-idx2-ubyte").write_bytes(buffer.getvalue())
    return path / "array-idx2-ubyte"


def test_few_colours_keep_those_of_thin_lines(experiment):
    """A palette of the whole picture would be white and grey: of a plot's pixels hardly one in a hundred has a colour."""
    from PIL import Image, ImageDraw

    report = experiment("report")
    picture = Image.new("RGB", (900, 600), "white")
    draw = ImageDraw.Draw(picture)
    for i in range(200):  # text and blends
        draw.line((i, 590 - i, i + 3, 590 - i), fill=(i, i, i))
    lines = {at: colour for at, colour in enumerate((report.BLUE, report.AMBER, report.RED, report.GREEN, report.GREY), start=1)}
    for at, colour in lines.items():
        draw.line((300, 50 * at, 800, 50 * at + 20), fill=colour, width=1)
    with Image.open(io.BytesIO(report.few_colours(picture, 32))) as small:
        assert len(small.getpalette()) <= 3 * 32 and small.convert("RGB").getpixel((899, 599)) == (255, 255, 255)
        shown = small.convert("RGB")
    for at, colour in lines.items():
        wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert max(abs(a - b) for a, b in zip(shown.getpixel((300, 50 * at)), wanted)) < 8, colour


def test_titles_fit_their_panels(experiment, tmp_path, monkeypatch):
    report, seen = experiment("report"), []
    with report.figure(tmp_path / "x.png", 1, 2) as (drawn, panels):
        panels[0].set_title("a title that is far too long for its panel, and would be cut by the edge or its neighbour" * 2)
        panels[1].set_title("short")
        monkeypatch.setattr(report, "write_bytes", lambda *_: seen.extend(x.title.get_window_extent() for x in drawn.axes))
    assert seen[0].x0 >= 0 and seen[0].x1 <= drawn.bbox.width / 2 + 20 and seen[0].x1 < seen[1].x0
    assert panels[1].title.get_fontsize() > panels[0].title.get_fontsize()


# ---- convolutional nets --------------------------------------------------------------------------------------------


def test_pictures(experiment, out, monkeypatch):
    """A small net on the digits as they are: the script's own files, beside the float run."""
    pictures, models = experiment("pictures"), experiment("models")

    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.max_pool(nn.relu(nn.Conv(2, (3, 3))(x)), (4, 4), (4, 4))
            return nn.Dense(10)(x.reshape(len(x), -1))

    monkeypatch.setitem(pictures.MODELS, "small", models.Classifier(Small(), 4, 2, lambda: optax.sgd(0.05), shape=(8, 8, 1)))
    assert pictures.main(["--model", "small", "--steps", "4", "--out", str(out)]) == 0
    figures = json.loads((out / "report.json").read_text())["figures"]
    assert (figures["data"], figures["steps"], figures["chunk"], len(figures["proof_bytes"])) == ("digits", 4, 2, 2)
    assert abs(figures["float_score"] - figures["exact_score"]) < 2
    circuit, proofs = zkjax.Circuit.load(out / "circuit.json"), [zkjax.Proof.load(path) for path in sorted(out.glob("chunk-*.proof"))]
    statements = zkjax.verify(circuit, proofs)
    losses = [float(circuit.exact_loss(list(step))) for x in statements for step in zip(*x.losses, strict=True)]
    assert np.allclose(losses, figures["float_losses"], rtol=0.02) and np.allclose(losses, figures["exact_losses"])


def test_text(experiment, out, monkeypatch):
    """A transformer of one narrow layer: every character is one of the vocabulary, and labels are the next ones."""
    text, models = experiment("text"), experiment("models")
    small = models.Classifier(models.Transformer(8, 4, 1, 1), 4, 2, lambda: models.warmed(1e-2), shape=(6,), classes=8, text=True)
    monkeypatch.setitem(text.MODELS, "transformer", small)
    x, y = text.load(small).train
    assert x.shape[1:] == (6,) and set(np.unique(x)) == set(range(8)) and np.array_equal(x[0, 1:], y[0, :-1])
    assert text.main(["--steps", "2", "--no-proofs", "--out", str(out)]) == 0
    figures = json.loads((out / "report.json").read_text())["figures"]
    assert len(figures["exact_losses"]) == 2 and not list(out.glob("*.proof"))
    assert figures["data"] == "Python's documentation" and abs(figures["float_score"] - figures["exact_score"]) < 5


def test_models_with_statistics_and_dropout(experiment):
    """What ``zkjax.trace`` is told of them, and the float training beside it."""
    models = experiment("models")
    x, y = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype(np.float32), np.arange(8, dtype=np.int32)
    for name, told in (("resnet", {"state"}), ("mlp-norm", {"key"})):
        model = replace(models.MODELS[name], shape=(8, 8, 1), batch=4)
        params = model.initial()
        assert set(model.traced()) == told
        trained, losses = model.float_training(model.batches((x, y), 2))
        assert np.isfinite(losses).all() and 0 <= model.score(trained, x, y) <= 100
        assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(params), strict=True))


def test_pictures_of_another_shape(experiment):
    pictures, models = experiment("pictures"), experiment("models")
    lenet = models.MODELS["lenet"]
    x, y = pictures.load(lenet).train
    assert x.shape[1:] == lenet.shape and x.dtype == np.float32 and y.dtype == np.int32
    assert np.array_equal(x[0, 2:26:3, 2:26:3, 0].reshape(-1), experiment("images").digits().x[0])
    coloured = pictures.load(models.MODELS["resnet"]).train[0]
    assert coloured.shape[1:] == (32, 32, 3) and np.array_equal(coloured[..., 0], coloured[..., 2])
    with pytest.raises(SystemExit, match="numbers a picture"):
        pictures.load(replace(lenet, shape=(4, 4, 1)))


def test_a_model_is_measured_as_it_is(experiment):
    """Of ``bench.py --model``: its batch, its data's shape, its optimizer."""
    bench, models = experiment("bench"), experiment("models")
    for name, model in models.MODELS.items():
        _, config = bench.parse(["--model", name])
        x, y = bench.draw_data(config)
        assert (config.batch, config.steps, config.model) == (model.batch, model.steps, name)
        assert x.shape == (config.samples, *model.shape) and y.max() < model.classes
        assert all(len(array) == model.batch for array in bench.batch_of(config))
        assert set(bench.traced(config)) == set(model.traced())
        assert jax.tree.structure(bench.optimizer_of(config).init(())) == jax.tree.structure(model.optimizer().init(()))
    with pytest.raises(SystemExit):
        bench.parse(["--model", "none"])


def test_any_kind_of_model_is_measured(experiment, monkeypatch):
    """Also one with a state, and one that reads all its data in each step."""
    bench, others = experiment("bench"), experiment("others")
    for name in ("control", "graph"):
        model = others.MODELS[name]
        _, config = bench.parse(["--model", name])
        assert len(bench.draw_data(config)[0]) == (512 if model.whole else config.samples)
        first = bench.params_of(config), bench.traced(config).get("state")
        assert len(jax.tree.leaves(first)) == len(jax.tree.leaves(model.initial())) * (1 if model.whole else 2)
        assert len(bench.native_steps(config)) >= 5
