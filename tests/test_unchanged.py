"""What must not change while code moves: circuits, plans, ledgers and the bytes of proofs, of graphs that hold all operations.

Proofs are made under fixed randomness. A change of tracing, of formats or of the protocol changes ``unchanged.json``, which
``python tests/test_unchanged.py`` writes anew; a rebuild of the code does not.
"""

import hashlib
import json
import random
import sys
from pathlib import Path
from unittest import mock

import pytest
from harness import make_run, prove_small
from test_graphs import GRAPHS, X, Y
from test_reference_verifier import MORE
from tiny import next_run

import zkjax
from zkjax.prover.prove import make_plan
from zkjax.verifier import dry_run, estimate_work

FILE = Path(__file__).with_name("unchanged.json")
NETS = GRAPHS | {name: (loss, params, (X, Y)) for name, (loss, params) in MORE.items()}


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def plan_of(run) -> list:
    """Committed tensors and lookups, in the order in which they stand in the trace and in the tree."""
    plan = make_plan(run)
    advice = [[*map(str, key), *shape] for key, shape in plan.advice.items()]
    lookups = [[str(x.key), x.table.kind, x.table.width, str(x.shape), str(columns_of(x))] for x in plan.sites.lookups]
    return [advice, lookups, str(dry_run(plan, None).counts())]


def columns_of(lookup) -> tuple:
    """Its forms: of tensors of its own shape coefficient and key, of others how they stand in it too."""
    return tuple(
        (constant, tuple((x.coefficient, x.key) if not x.along else tuple(x) for x in parts)) for constant, parts in lookup.columns
    )


def figures(name: str) -> dict:
    """Of one net: its circuit, two chunks of training, and a proof of each."""
    loss, params, data = NETS[name]
    draw = random.Random(name)  # all that is secret, and nothing else
    with (
        mock.patch("secrets.token_bytes", draw.randbytes),
        mock.patch("secrets.token_hex", lambda n: draw.randbytes(n).hex()),
        mock.patch("secrets.randbelow", draw.randrange),
    ):
        circuit, first = make_run(loss, params, data, batch=3, steps=2)
        proofs = [prove_small(circuit, first, reveal=("loss",))]
        later = next_run(circuit, first, steps=3)
        proofs.append(prove_small(circuit, later))
    counts, work = circuit.counts(3, circuit.coarse_widths), estimate_work(circuit, [proofs[1].statement], None, None)
    return {
        "circuit": circuit.digest().hex()[:32],
        "counts": [counts.cells, counts.lookups, counts.table_entries],
        "bounds": digest(str(circuit.bounds(first.initial_bound, 2)).encode()),
        "longest chain": str(circuit.longest_chain()),
        "weights": digest(*(x.tobytes() for run in (first, later) for x in run.final)),
        "plans": digest(json.dumps([plan_of(run) for run in (first, later)]).encode()),
        "ledger": digest(str(proofs[0].security).encode()),
        "work": [work.work, work.memory],
        "proofs": [digest(bytes(proof)) for proof in proofs],
    }


def test_all_operations_are_there():
    used = {node["op"] for name in NETS for node in traced(name).to_json()["nodes"]}
    assert len(used) == 18


def traced(name: str) -> zkjax.Circuit:
    loss, params, data = NETS[name]
    return make_run(loss, params, data, batch=3, steps=1)[0]


@pytest.mark.parametrize("name", NETS)
def test_nothing_has_changed(name):
    assert figures(name) == json.loads(FILE.read_text("utf-8"))[name]


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: figures(name) for name in NETS}, indent=1) + "\n", encoding="utf-8")
    sys.exit()
