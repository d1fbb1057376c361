"""Trainings in folders on small nets: how they begin, and what has to hold of one whatever has happened to it."""

import hashlib
import json
import os
import stat
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from harness import BITS, SMALL, data_for, mlp_loss, mlp_params, verify_small
from tiny import DIMS, TINY

import zkjax
from zkjax.prover import commitments, prove

CHUNK, SEED, SHARD = 2, 1, 5


def traced(steps: int, rate: float = 1 / 32):
    """(circuit, params, data) of a small net."""
    import optax

    params, data = mlp_params(DIMS), data_for(DIMS)
    given = {"batch": tuple(x[:3] for x in data), "precision": TINY, "steps": steps, "chunk": CHUNK}
    return zkjax.trace(mlp_loss, optax.sgd(rate), params, **given), params, data


def begun(folder, circuit, params, data, **options) -> zkjax.Training:
    """The training there, begun or gone on with."""
    return zkjax.Training(folder, circuit, params, data, chunk=CHUNK, seed=SEED, **{"shard_size": SHARD, **options})


def proven(training, executor=None, **options) -> list[Path]:
    return zkjax.prove_all(training, executor, minimum_bits=BITS, progress=None, **options)


@contextmanager
def small_geometry():
    """Chains begin in it: far below the target, for speed."""
    with mock.patch.object(prove, "choose_geometry", lambda *_: SMALL):
        yield


class Watched:
    """Everything that is committed to, by its seed: one seed hides one matrix, and a trace's hides one trace."""

    def __init__(self):
        self.hidden, self.traces = {}, Counter()

    def commit(self, rows, *, kind, number, budget, geometry, seed, **options):
        arrays = rows if isinstance(rows, list) else [rows]
        found = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)).digest()
        if kind == "trace":
            self.traces[seed] += 1
        else:
            assert self.hidden.setdefault((seed, kind, number, budget), found) == found, f"one seed hides two matrices of {kind} {number}"
        return self._commit(rows, kind=kind, number=number, budget=budget, geometry=geometry, seed=seed, **options)

    def __enter__(self):
        self._commit = commitments.commit
        self._patches = [mock.patch.object(module, "commit", self.commit) for module in (commitments, prove)]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_):
        for patch in self._patches:
            patch.stop()


def opened(proofs) -> Counter:
    """How often these proofs open each part of each commitment."""
    found = Counter()
    for proof in proofs:
        found.update((x.commitment.root, part.name) for x in proof.statement.opened() for part in x.parts)
    return found


def holds(folder, circuit, steps: int) -> None:
    """What has to be true of a training that is trained and proven to its end, whatever happened on the way."""
    training = zkjax.Training(folder)
    content = [json.loads(path.read_text()) for path in sorted((Path(folder) / "private").glob("chunk-*.json"))]
    assert [c["first_step"] for c in content] == [sum(c["steps"] for c in content[:n]) for n in range(len(content))]
    assert training.steps == steps and len(training.proofs) == training.chunks == len(content)
    assert all(a["keys"][1] == b["keys"][0] and a["states"][1] == b["states"][0] for a, b in zip(content, content[1:]))
    assert len({key["seed"] for c in content for key in c["keys"]}) == len(content) + 1
    proofs = [zkjax.Proof.load(path) for path in training.proofs]
    verify_small(circuit, proofs, seed=SEED, steps=(0, steps))
    counters = json.loads((Path(folder) / "private" / "openings.json").read_text())
    assert counters["published"] == {c["keys"][1]["name"]: digest(p) for c, p in zip(content, training.proofs, strict=True)}
    assert max(opened(proofs).values()) <= SMALL.max_budget
    assert sum(counters["spent"].values()) == sum(sum(len(x.parts) for x in p.statement.opened()) for p in proofs)
    assert len({proof.body[:32] for proof in proofs}) == len(proofs)  # roots of traces
    for path in [Path(folder) / "private", *(Path(folder) / "private").rglob("*")]:
        assert stat.S_IMODE(os.stat(path).st_mode) == (0o700 if path.is_dir() else 0o600), path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
