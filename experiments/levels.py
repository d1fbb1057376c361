"""Measure what levels of products and terms cost a verifier.

    python experiments/levels.py [--towers N ...] [--json FILE]

Traced nets have three levels of products, for their products of products are rounded. The circuits here are made by hand: each of N
towers computes y = x w and y^3 without rounding in between, and has a parameter whose update reads w: five levels. Each circuit
is trained for some steps, proven at the full target, and verified by the command line in a process of its own. *Terms* are those
of the opening, one for each functional of a committed tensor that the argument ends in.
"""

import argparse
import statistics
import sys
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
from common import columns, environment, run_process, write_json
from report import bytes_text, seconds_text

BATCH, WIDTH, OUT, STEPS = 4, 8, 4, 4
TOWERS = (1, 8, 24)
REPEAT = 5
UNIT = Fraction(1, 64)  # the value of 1 of every parameter


def circuit_of(towers: int):
    """Two parameters for each tower: w learns from the rescaled cube of x w, q adds up x^T (x w)."""
    from zkjax.circuit.circuit import Circuit
    from zkjax.circuit.parts import Input, Loss, Parameter, Update
    from zkjax.ops import BY_NAME
    from zkjax.ops.operation import Node

    nodes, parameters, losses = [], [], []

    def add(op: str, inputs=(), shape=(), **attributes) -> int:
        nodes.append(Node(BY_NAME[op](**attributes), tuple(inputs), tuple(shape), 0, ""))
        return len(nodes) - 1

    def dot(x: int, y: int, shape, contract=((), ()), batch=((), ())) -> int:
        return add("dot", (x, y), shape, batch=batch, contract=contract)

    every = ((0, 1), (0, 1))  # axes of an elementwise product
    x, rows = add("input", (), (BATCH, WIDTH), index=0), (BATCH, OUT)
    for k in range(towers):
        w, q = (add("param", (), (WIDTH, OUT), index=2 * k + i) for i in range(2))
        y = dot(x, w, rows, ((1,), (0,)))
        cube = add("rescale", (dot(dot(y, y, rows, batch=every), y, rows, batch=every),), rows, bits=4, shift=12)
        read = add("rescale", (dot(x, q, rows, ((1,), (0,))),), rows, bits=7, shift=7)
        updates = dot(x, cube, (WIDTH, OUT), ((0,), (0,))), dot(x, y, (WIDTH, OUT), ((0,), (0,)))
        parameters += [Parameter(f"{name} {k}", (WIDTH, OUT), (Update(u, (1,)),), unit=UNIT) for name, u in zip("wq", updates, strict=True)]
        losses.append(Loss(dot(cube, read, (), every), Fraction(1)))
    return Circuit(tuple(nodes), (Input("x", (BATCH, WIDTH), 3, 4),), tuple(parameters), tuple(losses), 11, max_steps=STEPS).check()


def terms_of(run) -> int:
    """How many terms the opening of a proof has."""
    from zkjax.protocol.plan import opening_terms
    from zkjax.prover.prove import make_plan
    from zkjax.verifier import dry_run

    plan = make_plan(run)
    dry = dry_run(plan, None)
    weights, terms, _ = dry.finish()
    return sum(map(len, opening_terms(plan, weights, terms, dry.vectors).values()))


def measure(towers: int) -> dict:
    """One circuit: its size, and medians of the verifier's time."""
    import zkjax

    circuit, rng = circuit_of(towers), np.random.default_rng(0)
    params = [rng.integers(-3, 4, size=(WIDTH, OUT)) * float(UNIT) for _ in circuit.parameters]
    data = (rng.integers(-1, 2, size=(STEPS * BATCH, WIDTH)) * 2.0**-3,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zkjax.PrecisionWarning)  # nothing is to be learnt here
        run = zkjax.train(circuit, params, data, steps=STEPS, seed=0)
    proof = zkjax.prove(circuit, run)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("circuit.json", "chunk.proof")]
        circuit.save(files[0])
        proof.save(files[1])
        command = [sys.executable, "-m", "zkjax", "verify", "--circuit", *files]
        found = [run_process(command) for _ in range(REPEAT)]
    if any(x.status for x in found):
        raise SystemExit(f"error: the proof was refused\n{found[0].output}{found[0].errors}")
    return {
        "towers": towers,
        "levels": circuit.levels.depth,
        "operations": len(circuit.nodes),
        "terms": terms_of(run),
        "proof_bytes": proof.nbytes,
        "verify_seconds": statistics.median(x.seconds for x in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--towers", type=int, nargs="+", default=TOWERS, metavar="N", help=f"default: {' '.join(map(str, TOWERS))}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    results = [measure(towers) for towers in options.towers]
    head = ("towers", "levels", "operations", "terms", "proof", "verifying, whole process")
    keys = ("towers", "levels", "operations", "terms")
    rows = [[*(str(r[k]) for k in keys), bytes_text(r["proof_bytes"]), seconds_text(r["verify_seconds"])] for r in results]
    print(columns([head, *rows]))
    if options.json:
        write_json(options.json, {"results": results, "environment": environment()})


if __name__ == "__main__":
    main()
