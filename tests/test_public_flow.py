"""What the prover does depends on public values only: no branch, loop, shape or size follows data, weights or dead neurons.

Three witnesses of one public statement: random weights and data, others with a dead neuron, and weights and data that are zero
but for the entries that fix the public shifts. Training and proving them takes the same lines of this package in the same order,
on arrays of the same shapes and types; the files have the same sizes. (How long an operation on an array takes is NumPy's and
XLA's business, see SECURITY.md.)
"""

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from zero_knowledge import NO_TARGET, TOY, Programmed, renewed, tiny_circuit, tiny_data, tiny_params

import zkjax
from zkjax.kernels import threads
from zkjax.prover import commitments
from zkjax.prover import prove as prover

ROOT = str(Path(zkjax.__file__).parent)


def shape_of(value, depth=0):
    """Shape and type of an array, of all arrays in a container; of anything else its type alone."""
    if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return value.shape, str(value.dtype)
    if isinstance(value, (bytes, str)):
        return type(value).__name__, len(value)
    if isinstance(value, (tuple, list)) and depth < 3:
        return type(value).__name__, len(value), tuple(shape_of(v, depth + 1) for v in value[:8])
    if isinstance(value, dict) and depth < 3:
        return "dict", len(value), tuple(shape_of(v, depth + 1) for v in list(value.values())[:8])
    return type(value).__name__


class Flow:
    """The lines of this package that a call runs, with the shapes of all local variables where a function ends."""

    def __init__(self):
        self.state, self.events, self.marks = 0, 0, []
        self.functions: Counter = Counter()

    def note(self, *event) -> None:
        self.state = hash((self.state, event))
        self.events += 1
        if self.events % 256 == 0:
            self.marks.append((self.state, event))

    def enter(self, frame, event, argument):
        code = frame.f_code
        if not code.co_filename.startswith(ROOT):
            return None
        self.functions[code.co_qualname] += 1
        self.note("call", code.co_qualname)
        return self.inside

    def inside(self, frame, event, argument):
        if event == "line":
            self.note(frame.f_code.co_qualname, frame.f_lineno)
        elif event == "return":
            self.note("return", frame.f_code.co_qualname, tuple((n, shape_of(v)) for n, v in frame.f_locals.items()), shape_of(argument))
        return self.inside

    def of(self, function):
        """Run ``function`` under watch; returns its result."""
        before = sys.gettrace()
        sys.settrace(self.enter)
        try:
            return function()
        finally:
            sys.settrace(before)

    def differs_from(self, other) -> str | None:
        """Where two flows part, None if nowhere."""
        for (a, event), (b, _) in zip(self.marks, other.marks):
            if a != b:
                return f"shortly before {event}"
        return None if (self.state, self.events) == (other.state, other.events) else "at the end"


def zeros():
    """Parameters that are zero but for one of each, as large as the largest up to a factor of two, which is public."""
    params = tiny_params(0)
    for layer in params:
        for name, x in layer.items():
            kept = np.zeros_like(x)
            kept.flat[0] = x.flat[0]
            layer[name] = kept
    return params


WITNESSES = {
    "random": lambda: (tiny_params(0), tiny_data(0)),
    "others, a dead neuron": lambda: (tiny_params(1, dead=True), tiny_data(1)),
    "zeros": lambda: (zeros(), (np.zeros_like(tiny_data(0)[0]), tiny_data(0)[1])),
}


@contextmanager
def at_once(*works):
    """For ``threads.in_background``: the work is done before the block."""
    results = [work() for work in works]
    yield [SimpleNamespace(result=lambda result=result: result) for result in results]


def life(circuit, params, data, flow=None):
    """(run, proof) of a witness; all challenges are those of one sequence, all secret randomness is fresh."""

    def work():
        run = zkjax.train(circuit, params, data, steps=2, seed=1, shard_size=2)
        run = renewed(run, "a name that both share", TOY)
        with (
            mock.patch.object(prover, "start_transcript", lambda statement: Programmed("challenges")),
            mock.patch.object(threads, "in_background", at_once),  # a trace is of one thread
            mock.patch.object(threads, "THREADS", 1),
            mock.patch.object(prover, "available_memory", lambda: 2**40),  # reads what all processes of the machine do
        ):
            return run, zkjax.prove(circuit, run, progress=None, minimum_bits=NO_TARGET, verify=False)

    return work() if flow is None else flow.of(work)


@pytest.fixture(scope="module")
def lives():
    circuit = tiny_circuit()
    life(circuit, *WITNESSES["random"]())  # caches are filled, functions compiled
    found = {}
    for name, make in WITNESSES.items():
        flow = Flow()
        found[name] = flow, *life(circuit, *make(), flow)
    return circuit, found


def test_witnesses_differ_in_secrets_only(lives):
    circuit, found = lives
    runs = [run for _, run, _ in found.values()]
    assert len({(run.coarse_shifts, run.widths) for run in runs}) == 1
    signs = [np.concatenate([run.witness().values[i].reshape(-1) for i in circuit.of("sign")]) for run in runs]
    assert not signs[2].all() and len({s.tobytes() for s in signs}) == 3
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert any(not np.array_equal(x, y) for x, y in zip(runs[a].final, runs[b].final))


def test_the_same_lines_on_the_same_shapes(lives):
    _, found = lives
    first, *others = (flow for flow, _, _ in found.values())
    assert first.events > 100_000 and {"_prove", "argument", "open_claim", "train", "Witness.__init__"} <= set(first.functions)
    for name, flow in zip(list(WITNESSES)[1:], others):
        assert flow.functions == first.functions, name
        assert first.differs_from(flow) is None, (name, first.differs_from(flow))


def test_files_have_the_same_sizes(lives):
    _, found = lives
    assert len({len(bytes(proof)) for _, _, proof in found.values()}) == 1
    assert len({len(proof.body) for _, _, proof in found.values()}) == 1


class Enough(Exception):
    """Ends a control early."""


@pytest.mark.parametrize("leak", ["none", "branch", "loop", "shape"])
def test_a_flow_that_follows_secrets_is_noticed(lives, monkeypatch, leak):
    """Controls: a shortcut for zero weights, a loop over dead neurons, a shape that counts them."""
    circuit, _ = lives
    original = commitments.rows_of

    def rows_of(layout, tensors, row):
        (role, _), arrays = next(iter(tensors))[:2], [*tensors.values()]
        if role not in ("initial", "final"):
            return original(layout, tensors, row)
        if leak == "branch" and not arrays[0][1:].any():
            arrays = tuple(arrays)
        if leak == "loop":
            for _ in np.flatnonzero(arrays[0]):
                arrays = tuple(arrays)
        if leak == "shape":
            _positive = arrays[0][arrays[0] != 0]
        if role == "final":
            raise Enough
        return original(layout, tensors, row)

    source = rows_of.__code__.replace(co_filename=f"{ROOT}/prover.py")
    monkeypatch.setattr(commitments, "rows_of", type(rows_of)(source, globals(), "rows_of", None, rows_of.__closure__))
    flows = []
    for name in ("random", "zeros"):
        flows.append(Flow())
        with pytest.raises(Enough):
            life(circuit, *WITNESSES[name](), flows[-1])
    assert (flows[0].differs_from(flows[1]) is None) == (leak == "none")
