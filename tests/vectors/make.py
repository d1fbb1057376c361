"""Writes the frozen files of the present format version: ``python tests/vectors/make.py``, only while a format is being made."""

import json
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import curving  # noqa: E402
import drawing  # noqa: E402
import forming  # noqa: E402
import harness  # noqa: E402
import holding  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import moving  # noqa: E402
import numpy as np  # noqa: E402
import sliding  # noqa: E402
import terms  # noqa: E402
import test_graphs  # noqa: E402
import tiny  # noqa: E402
from reference import verifier as reference  # noqa: E402

import zkjax  # noqa: E402
from zkjax.circuit.file import VERSION  # noqa: E402
from zkjax.commitment.geometry import Geometry  # noqa: E402
from zkjax.comparison import Part  # noqa: E402
from zkjax.proofs.drawing import Drawing  # noqa: E402
from zkjax.proofs.links import Link  # noqa: E402
from zkjax.protocol.transcript import Transcript  # noqa: E402
from zkjax.training.compare import ends_of  # noqa: E402
from zkjax.training.evaluate import reading  # noqa: E402
from zkjax.verifier import estimate_work, verify_alone, verify_one  # noqa: E402

NAME, SMALLEST = f"format-{VERSION}", Geometry(9, 2, 4, level_bits=8)


def main() -> None:
    """All proofs, each accepted by both verifiers: of chunks, and of links alone that go with the first two."""
    loss, params, data = test_graphs.GRAPHS["reshape"]
    circuit, run = harness.make_run(loss, params, data, batch=3, steps=2, precision=tiny.TINY, shard_size=4)
    freeze(NAME, circuit, run)
    alone = zkjax.link(run, minimum_bits=5.0)
    reference.verify_chain(circuit.to_json(), [(HERE / f"{NAME}.proof").read_bytes(), bytes(alone)], minimum_bits=5.0)
    alone.save(HERE / f"{NAME}.link.proof")
    riding = replace(zkjax.Proof.load(HERE / f"{NAME}.proof").statement, links=(Link("initial", alone.statement.fresh[0]),))
    write(f"{NAME}.link.work", {"alone": work(circuit, alone.statement), "riding": work(circuit, riding)})
    circuit = moving.moving(frozen=True)
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=5)
    freeze(f"{NAME}-states", circuit, run)
    part = moving.link_of_parameters(run, run.chain.geometry, 5.0)
    files = [(HERE / f"{NAME}-states.proof").read_bytes(), bytes(part)]
    reference.verify_chain(circuit.to_json(), files, minimum_bits=5.0)
    part.save(HERE / f"{NAME}-states.link.proof")
    write(f"{NAME}-states.link.transcript", harness.recorded(Transcript, "_draw", lambda: verify_alone(part, 5.0)))
    disclose(circuit)
    draw()
    shards()
    evaluate()
    compare()
    freeze(f"{NAME}-parts", *holding.holding())
    circuit = drawing.drawing()
    freeze(f"{NAME}-draws", circuit, zkjax.train(circuit, *drawing.start(), steps=3))
    freeze(f"{NAME}-curves", *curving.curving())
    freeze(f"{NAME}-windows", *sliding.sliding())
    freeze(f"{NAME}-forms", *forming.forming(), forming.ROOMY)
    freeze(f"{NAME}-runs", *forming.runs(), forming.ROOMY)


def disclose(circuit) -> None:
    """A proof about this circuit, the model file of its last weights, and their disclosure, at a point and by a seed."""
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=5)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    proof = zkjax.prove(circuit, run, progress=None, minimum_bits=5.0)
    disclosure, name = zkjax.disclose(run, "parameters", minimum_bits=5.0), HERE / f"{NAME}-disclosed"
    run.save_model(f"{name}.safetensors")
    zkjax.verify(circuit, proof, model=zkjax.Model.load(f"{name}.safetensors"), disclosures=[disclosure], minimum_bits=5.0)
    circuit.save(f"{name}.circuit.json")
    proof.save(f"{name}.proof")
    disclosure.save(f"{name}.disclosure")


def draw() -> None:
    """A chunk whose first weights are drawn from key 7, the frozen ones too, and what shows it."""
    circuit, (_, data) = moving.moving(frozen=True), moving.start(frozen=True)
    told = Drawing(7, {"f": ("normal", 2), "v": ("truncated_normal", 0.25), "w": ("uniform", -0.5, 0.5)})
    values = told.floats({path: (3, 2) for path in "fvw"})
    run = zkjax.train(circuit, [values[path] for path in "wvf"], data, steps=2)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    proof = zkjax.prove(circuit, run, progress=None, minimum_bits=5.0)
    disclosure, name = zkjax.disclose(run, "initial", minimum_bits=5.0), HERE / f"{NAME}-drawn"
    zkjax.verify(circuit, proof, drawing=told, disclosures=[disclosure], minimum_bits=5.0)
    circuit.save(f"{name}.circuit.json")
    proof.save(f"{name}.proof")
    disclosure.save(f"{name}.disclosure")
    told.save(f"{name}.drawing.json")
    named = {x.path: run.initial[p].ravel().tolist() for p, x in enumerate(circuit.parameters) if x.path in values}
    write(f"{name}.integers", named)


def shards() -> None:
    """A proof about a plain net, the data that it was trained on, and the disclosures of all, of their second shard, of some samples."""
    loss, params, data = test_graphs.GRAPHS["reshape"]
    circuit, run = harness.make_run(loss, params, data, batch=3, steps=2, precision=tiny.TINY, shard_size=4)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    proof, name = zkjax.prove(circuit, run, progress=None, minimum_bits=5.0), HERE / f"{NAME}-shards"
    arrays = [x * 2.0**-entry.scale for x, entry in zip(run.data.arrays, circuit.inputs, strict=True)]
    shown = (("dataset", None, "", slice(None)), (1, None, ".1", slice(4, 8)), ("dataset", (0, 2, 3, 4, 8), ".some", [0, 2, 3, 4, 8]))
    for what, samples, end, part in shown:
        disclosure = zkjax.disclose(run, what, samples=samples, minimum_bits=5.0)
        zkjax.verify(circuit, proof, data=[x[part] for x in arrays], disclosures=[disclosure], minimum_bits=5.0)
        disclosure.save(f"{name}{end}.disclosure")
    circuit.save(f"{name}.circuit.json")
    proof.save(f"{name}.proof")
    write(f"{name.name}.data", [x.tolist() for x in arrays])


def evaluate() -> None:
    """An evaluation of what a chunk leads to, and what is published of the training: its circuit, and the statement of its proof."""
    circuit, (start, data) = moving.moving(), moving.start()
    run = zkjax.train(circuit, start, data, steps=2)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    training, name = zkjax.prove(circuit, run, progress=None, minimum_bits=5.0), HERE / f"{NAME}-evaluated"

    def metrics(params, x):
        w, v = params["w"], params["v"]
        logits, labels = x @ w + x @ v, (x[:, 0] > 0).astype(int)
        return zkjax.classified(logits, labels, labels, 2) | {"size": jnp.sum(logits**2)}

    formats = zkjax.Precision(activation_scale=4, activation_bits=7, data_bits=(5,))
    made = zkjax.evaluate(run, metrics, data, batch=3, shard_size=4, precision=formats, progress=None, minimum_bits=5.0)
    reference.verify(made.circuit.to_json(), bytes(made.proof), minimum_bits=5.0, assume_bound=True)
    found = zkjax.verify_evaluation(made.circuit, made.proof, training=(circuit, [training.statement]), minimum_bits=5.0)
    made.circuit.save(f"{name}.circuit.json")
    made.proof.save(f"{name}.proof")
    write(f"{name.name}.training", {"circuit": circuit.to_json(), "statement": training.statement.to_json()})
    write(f"{name.name}.totals", {output: [x.numerator, x.denominator] for output, x in found.totals.items()})


def compare() -> None:
    """A comparison of what a chunk starts from and leads to, and what is published of the training."""
    circuit, name = moving.moving(frozen=True), HERE / f"{NAME}-compared"
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=2)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    training = zkjax.prove(circuit, run, progress=None, minimum_bits=5.0)
    asked = zkjax.Terms((Part(("w",), 2), Part(("v",), 4, 90_000)))
    made = reading(asked.circuit(circuit), ends_of(run, run), (np.zeros(1),))
    proof = zkjax.prove(made.circuit, made, reveal=made.circuit.outputs, progress=None, minimum_bits=5.0)
    reference.verify(made.circuit.to_json(), bytes(proof), minimum_bits=5.0, assume_bound=True)
    found = zkjax.verify_comparison(asked, proof, training=(circuit, [training.statement]), minimum_bits=5.0)
    made.circuit.save(f"{name}.circuit.json")
    proof.save(f"{name}.proof")
    asked.save(f"{name}.comparison.json")
    write(f"{name.name}.training", {"circuit": circuit.to_json(), "statement": training.statement.to_json()})
    write(f"{name.name}.parts", {"parts": found.to_json()})


def freeze(name: str, circuit, run, geometry=SMALLEST) -> None:
    """A proof in a small geometry, with revealed losses, its ledger, and what verifying it takes."""
    run.chain.geometry = geometry
    proof = zkjax.prove(circuit, run, reveal=("loss",), progress=None, minimum_bits=5.0)
    reference.verify(circuit.to_json(), bytes(proof), minimum_bits=5.0)
    circuit.save(HERE / f"{name}.circuit.json")
    proof.save(HERE / f"{name}.proof")
    write(f"{name}.ledger", [[term, round(bits, 9)] for term, bits in zkjax.ledger(circuit, proof).terms])
    write(f"{name}.transcript", harness.recorded(Transcript, "_draw", lambda: zkjax.verify(circuit, proof, minimum_bits=5.0)))
    write(f"{name}.terms", terms.own_terms(lambda: verify_one(circuit, proof, 5.0)))
    write(f"{name}.work", work(circuit, proof.statement))


def work(circuit, statement) -> dict:
    """What verifying takes."""
    meter = estimate_work(circuit, [statement], None, None)
    return {"work": meter.work, "memory": meter.memory, "shares": meter.shares}


def write(name: str, value) -> None:
    """One JSON file."""
    text = json.dumps(value, indent=1) if isinstance(value, dict) else "[\n" + ",\n".join(f" {json.dumps(x)}" for x in value) + "\n]"
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
