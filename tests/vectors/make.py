"""Writes the frozen files of the present format version: ``python tests/vectors/make.py``, only while a format is being made."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import harness  # noqa: E402
import test_graphs  # noqa: E402
import tiny  # noqa: E402
from reference import verifier as reference  # noqa: E402

import zkjax  # noqa: E402
from zkjax.circuit.file import VERSION  # noqa: E402
from zkjax.commitment.geometry import Geometry  # noqa: E402
from zkjax.verifier import estimate_work  # noqa: E402

NAME = f"format-{VERSION}"


def main() -> None:
    """A proof with three shards, revealed losses, a range check of the initial weights, and one level of recursion."""
    loss, params, data = test_graphs.GRAPHS["reshape"]
    circuit, run = harness.make_run(loss, params, data, batch=3, steps=2, precision=tiny.TINY, shard_size=4)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    proof = zkjax.prove(circuit, run, reveal=("loss",), progress=None, minimum_bits=5.0)
    circuit.save(HERE / f"{NAME}.circuit.json")
    proof.save(HERE / f"{NAME}.proof")
    reference.verify(circuit.to_json(), bytes(proof), minimum_bits=5.0)
    write("ledger", [[name, round(bits, 9)] for name, bits in zkjax.ledger(circuit, proof).terms])
    meter = estimate_work(circuit, [proof.statement], None, None)
    write("work", {"work": meter.work, "memory": meter.memory, "shares": meter.shares})


def write(name: str, value) -> None:
    """One JSON file."""
    (HERE / f"{NAME}.{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
