"""The fuzzer's corpus, replayed: one case for each place that ever refused an input; and a few fresh inputs.

``python tests/fuzz.py`` runs millions and writes the corpus. See ``fuzz.md`` for the kept runs.
"""

import ast
import json
import signal
import warnings
from pathlib import Path

import fuzz
import pytest
from fuzz_inputs import Case, honest_circuits, load_sources, make_sources

import zkjax

ROOT = Path(zkjax.__file__).parent
CORPUS = [(error, place, Case.from_json(case)) for error, place, case in json.loads(fuzz.CORPUS.read_text())]
READERS = ("circuit/circuit", "circuit/file", "ops/arithmetic", "ops/operation", "ops/rescale")
READERS += ("proofs/chain", "proofs/links", "proofs/proof", "proofs/statement", "protocol/transcript")
READERS += tuple(f"commitment/{name}" for name in ("commit", "geometry", "merkle", "opening", "openings", "recursion"))
READERS += ("training/saved", "verifier", "arrays", *(f"proofs/{name}" for name in ("disclosure", "disclosed", "header", "model")))
REFUSALS = {"FormatError", "VerificationError"}


class Clock:
    """Of the time that a test lets pass: how busy the machine is decides nothing. The fuzzer's own runs have the real one."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    """With freshly proven honest files."""
    directory = tmp_path_factory.mktemp("sources")
    make_sources(directory)
    sources = load_sources(directory)
    before = signal.signal(signal.SIGVTALRM, fuzz._stop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield fuzz.Fuzzer(sources, tmp_path_factory.mktemp("scratch"), clock=Clock())
    signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(scope="module")
def replayed(fuzzer):
    """Every case of the corpus with what becomes of it, and what Python allocates for it."""
    with honest_circuits(fuzzer.sources):
        return [(case, error, fuzzer.attempt(case, traced=True)) for error, _, case in CORPUS]


def test_the_corpus_is_small():
    assert len(CORPUS) > 100 and fuzz.CORPUS.stat().st_size < 2**18


def test_every_case_is_refused_as_it_was(replayed):
    for case, error, outcome in replayed:
        assert outcome.trouble is None, (case, outcome)
        assert outcome.error == error, (case, outcome)


def test_memory_of_every_case(replayed):
    for case, _, outcome in replayed:
        assert 0 < outcome.memory <= outcome.room, (case, outcome)


def refusals() -> dict[tuple[str, int], str]:
    """(module, line) of every place that refuses a file, to the text of its error."""
    found = {}
    for module in READERS:
        for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and getattr(node.exc.func, "id", "") in REFUSALS:
                for line in range(node.lineno, node.end_lineno + 1):
                    found[module.replace("/", "."), line] = f"{module}: {ast.unparse(node.exc)[:90]}"
    return found


def test_the_corpus_reaches_nearly_every_refusal(replayed):
    """Read from the source: where a file is refused, and how many of these places no kept case reaches."""
    known = refusals()
    reached = set()
    for _, _, outcome in replayed:
        function, line = outcome.place
        reached |= {text for (module, at), text in known.items() if at == line and function.startswith(f"{module}.")}
    missing = sorted(set(known.values()) - reached)
    assert len(reached) >= 0.9 * len(set(known.values())), missing


@pytest.mark.parametrize("deep", [0.0, 0.5])
def test_fresh_inputs(fuzzer, deep):
    with honest_circuits(fuzzer.sources):
        for number in range(200 if deep == 0 else 40):
            case = fuzz.case_of(7, number, fuzzer, deep)
            outcome = fuzzer.attempt(case)
            assert outcome.trouble is None, (number, case, outcome)


def test_trouble_is_noticed(fuzzer, monkeypatch):
    """Controls: an exception of another class, an accepted forgery, too much time, too much memory."""
    case = Case("proof", "least", (["cut", fuzz.SHARE // 2],))
    assert fuzzer.attempt(case).trouble is None

    def instead(function):
        monkeypatch.setattr(fuzz.Fuzzer, "_proof", lambda self, raw, source: function())
        return fuzzer.attempt(case).trouble or ""

    def refused(work):
        work()
        raise zkjax.FormatError("as it should be")

    def passes(seconds):
        fuzzer.clock.now += seconds

    kept = []
    assert "outside zkjax.errors" in instead(lambda: [][1])
    assert "neither" in instead(lambda: (_ for _ in ()).throw(zkjax.RunError("no")))
    assert "accepted" in instead(lambda: None)
    assert instead(lambda: refused(lambda: None)) == ""
    assert "bytes" in instead(lambda: refused(lambda: kept.append(b"x" * 2**29)))
    assert instead(lambda: refused(lambda: passes(fuzz.SLACK))) == ""
    assert " s are allowed" in instead(lambda: refused(lambda: passes(fuzz.SLACK + 1)))
