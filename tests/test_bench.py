"""The benchmark in miniature, aggregated and sequential, end to end; and the arithmetic behind its tables."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import zkjax
from zkjax.planning.machine import Machine

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"

FIGURES = {
    *("parameters", "steps", "native_step_seconds", "train_seconds_per_step", "commit_seconds_per_step", "prove_seconds_per_step"),
    *("overhead", "verify_seconds", "proof_bytes", "peak_rss_bytes", "cold_seconds", "security_bits", "zero_knowledge", "chunks"),
    *("environment", "steps_until_range_check", "load_average", "circuit"),
}


@pytest.mark.parametrize("kind", ["aggregated", "sequential"])
def test_a_result_has_all_figures(tiny, kind):
    result, output, _ = tiny[kind]
    assert set(result) >= FIGURES
    assert result["parameters"] == 8 * 6 + 6 + 6 * 3 + 3 and result["steps"] == (2 if kind == "aggregated" else 1)
    assert result["security_bits"] >= 100 and result["zero_knowledge"] is True
    assert result["cold_seconds"] is None  # compiled code was kept
    assert set(result["chunks"]) == {"first", "later"}
    assert result["chunks"]["first"]["range_checked"] and not result["chunks"]["later"]["range_checked"]
    for chunk in result["chunks"].values():
        assert set(chunk["phases"]) - {"compiling"} == {"witness", "commitments", "argument", "weights of the opening", "opening"}
        assert sum(chunk["phases"].values()) <= chunk["prove_seconds"]
        committing = sum(chunk["phases"].get(name, 0) for name in ("compiling", "commitments"))
        assert max(chunk["commitments"].values()) <= committing  # they are made beside one another
    assert "first chunk, warm" in output and "overhead" in output


def test_the_worse_chunk_counts_and_time_is_amortised(tiny):
    result, _, files = tiny["aggregated"]
    chunks = result["chunks"]
    for name in ("proof_bytes", "verify_seconds", "peak_rss_bytes"):
        assert result[name] >= max(chunk[name] for chunk in chunks.values()) > 0
    assert max((files / f"{kind}.proof").stat().st_size for kind in chunks) <= result["proof_bytes"]
    share = result["steps"] / result["steps_until_range_check"]
    first, later = (chunks[kind]["prove_seconds"] / result["steps"] for kind in ("first", "later"))
    assert result["prove_seconds_per_step"] == pytest.approx(share * first + (1 - share) * later)
    total = result["prove_seconds_per_step"] + result["train_seconds_per_step"]
    assert result["overhead"] == pytest.approx(total / result["native_step_seconds"])


def test_its_proofs_are_what_zkjax_verifies(tiny):
    _, _, files = tiny["aggregated"]
    proofs = [zkjax.Proof.load(files / f"{kind}.proof") for kind in ("first", "later")]
    statements = zkjax.verify(zkjax.Circuit.load(files / "circuit.json"), proofs, steps=(0, 4))
    assert [any(s.widths) for s in statements] == [True, False]


def test_it_compares_with_an_earlier_result(tiny):
    (before, _, _), (after, output, _) = tiny["aggregated"], tiny["sequential"]
    assert before["circuit"] == after["circuit"] and "different circuits" not in output
    line = next(line for line in output.splitlines() if line.startswith("proof_bytes_per_step"))
    ratio = after["proof_bytes_per_step"] / before["proof_bytes_per_step"]
    assert line.split()[-1] == f"{ratio:.3g}" and ratio > 2


def test_the_baseline_rejects_what_was_not_proven(tiny, experiment):
    sequential = experiment("sequential")
    _, _, files = tiny["sequential"]
    circuit = zkjax.Circuit.load(files / "circuit.json")
    first, later = (sequential.StepProof.load(files / f"{kind}.proof") for kind in ("first", "later"))
    assert sequential.verify_chain(circuit, [first, later]) >= 99
    for n, body in enumerate(first.bodies):
        changed = bytearray(body)
        changed[100] ^= 1  # a message of the argument
        with pytest.raises((zkjax.VerificationError, zkjax.FormatError)):
            sequential.verify_step(circuit, sequential.StepProof(first.raw, (*first.bodies[:n], bytes(changed), *first.bodies[n + 1 :])))
    statement = first.statement
    for lie in (
        {"first_step": 1},
        {"seed": 1},
        {"widths": [0] * len(statement["widths"])},
        {"shifts": [s + 1 for s in statement["shifts"]]},
        {"commitments": statement["commitments"] | {"final 0": statement["commitments"]["initial 0"]}},
        {"commitments": statement["commitments"] | {"advice 0": statement["commitments"]["advice 1"]}},
    ):
        raw = json.dumps(statement | lie, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises((zkjax.VerificationError, zkjax.FormatError)):
            sequential.verify_step(circuit, sequential.StepProof(raw, first.bodies))
    with pytest.raises(zkjax.VerificationError):
        sequential.verify_chain(circuit, [later, first])
    with pytest.raises(zkjax.FormatError):
        (files / "short.proof").write_bytes(bytes(first)[:-1])
        sequential.StepProof.load(files / "short.proof")


def test_the_baselines_layers_share_out_the_circuit(tiny, experiment):
    """Every lookup, cell and parameter of the aggregated proof stands in exactly one layer's part."""
    sequential = experiment("sequential")
    circuit = zkjax.Circuit.load(tiny["sequential"][2] / "circuit.json")
    batches = sequential.Batches(np.arange(4)[None], 4, 4)
    shifts = (0,) * len(circuit.parameters)
    step = sequential.Step(circuit, 0, shifts, circuit.coarse_widths, batches)
    whole = sequential.Plan(circuit, 0, 1, shifts, circuit.coarse_widths, batches)
    assert len(step.plans) == 2  # the hidden layer, forward and backward, and the last one
    assert sorted(str(x.key) for plan in step.plans for x in plan.sites.lookups) == sorted(str(x.key) for x in whole.sites.lookups)
    committed = [key for name, layout in step.layouts.items() for key in layout.shapes if name[0] == "advice"]
    assert sorted(map(str, committed)) == sorted(str(key) for key in whole.advice if key[0] != "multiplicity")
    assert sorted(p for plan in step.plans for p in plan.layer.parameters) == list(range(len(circuit.parameters)))


def test_estimates_beside_what_it_measured(tiny, experiment, tmp_path, capsys):
    estimates, result = experiment("estimates"), tiny["aggregated"][0]
    constants = Machine("two abaci", 1.0, 2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 18.0, 19.0, 23).save(tmp_path / "machine.json")
    found = estimates.compared(result, constants)
    assert len(found) == 2 * 4 + 1 and found["peak memory"][1] == result["peak_rss_bytes"]
    for kind in ("first", "later"):
        told, measured = found[f"{kind} chunk: proof"]
        assert measured == result["chunks"][kind]["proof_bytes"] and 1 / 1.5 < told / measured < 1.5
    (tmp_path / "tiny.json").write_text(json.dumps(result))
    assert estimates.main([str(tmp_path / "tiny.json"), "--machine", str(constants)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("tiny (8-6-3)") and lines[-2].endswith(f"{told / measured:.2f}")


# ---- arithmetic -----------------------------------------------------------------------------------------------


def test_widths(experiment):
    bench = experiment("bench")
    assert bench.parse_widths("3072,1024x8,10") == bench.CONFIGS["headline"].widths
    for wrong in ("3", "a,b", "3,0", "3,4y2", ""):
        with pytest.raises(ValueError):
            bench.parse_widths(wrong)


def test_the_named_configurations_are_the_documented_ones(experiment):
    bench = experiment("bench")

    def parameters(widths):
        return sum(a * b + b for a, b in zip(widths, widths[1:]))

    headline, wide = bench.CONFIGS["headline"], bench.CONFIGS["wide"]
    assert parameters(headline.widths) == 10_504_202 and (headline.batch, headline.steps) == (64, 16)
    assert len(wide.widths) == 18 and abs(parameters(wide.widths) / 200e6 - 1) < 0.002 and (wide.batch, wide.steps) == (64, 4)
    _, config = bench.parse(["--config", "headline", "--steps", "4", "--no-range-check"])
    assert (config.steps, config.batch, config.range_check) == (4, 64, False)
    _, config = bench.parse(["--widths", "5,4x2,3", "--batch", "7"])
    assert (config.name, config.widths, config.batch, config.steps, config.range_check) == ("free", (5, 4, 4, 3), 7, 16, True)


def test_medians_of_measurements(experiment):
    bench = experiment("bench")
    measured = [{"a": x, "b": {"c": 2 * x} | ({"d": 6.0} if x > 1 else {}), "flag": True} for x in (3.0, 1.0, 2.0)]
    assert bench.median_of(measured) == {"a": 2.0, "b": {"c": 4.0, "d": 6.0}, "flag": True}


@pytest.mark.parametrize("limit", [10, 11, 17, 1000, 12345])
def test_steps_until_the_next_range_check(experiment, limit):
    bench = experiment("bench")

    class Circuit:
        """Bounds hold while a chunk starts within the limit."""

        def bounds(self, initial, steps, first_step):
            if initial[0] > limit:
                raise zkjax.PrecisionError("too large")

    run = SimpleNamespace(initial_bound=(10,), steps=4, first_step=0)
    assert bench.steps_until_range_check(Circuit(), run, (13,)) == 4 * (1 + (limit - 10) // 3)


def test_peak_memory_starts_again():
    """In a process of its own: one that has proven keeps freed memory."""
    code = """if True:
        import common, numpy as np
        ballast = np.ones(50_000_000)
        before = common.peak_memory()
        del ballast
        if common.reset_peak_memory():
            assert common.peak_memory() < before - 300_000_000
    """
    subprocess.run([sys.executable, "-c", code], cwd=EXPERIMENTS, check=True)


def test_scaling_reports(experiment, tmp_path):
    scaling = experiment("scaling")
    points = {}
    for quick in (True, False):
        for sweep in scaling.sweeps(quick):
            for value, point in sweep.points.items():
                figures = {name: value for _, name, _ in scaling.COLUMNS} | {"load_average": [1.0, 1.0], "values": value}
                points[point.name] = figures | {"commit_seconds_per_step": 0.5, "proof_bytes_per_step": 1.0}
    found = scaling.sweeps(False)
    assert list(next(s for s in found if s.name == "overhead").points) == [256, 512, 1024, 2048, 4096]
    for sweep in found:
        lines = scaling.table(sweep, points).splitlines()
        assert sum(line.startswith("| ") for line in lines) == 1 + len(sweep.points)
    assert struct.pack(">I", 0x89504E47) == _plotted(scaling, tmp_path, found, points)[:4]
    assert _plotted(scaling, tmp_path, found[-1:], points)


def _plotted(scaling, directory, found, points) -> bytes:
    scaling.plot(directory / "scaling.png", found, points)
    return (directory / "scaling.png").read_bytes()
