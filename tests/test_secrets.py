"""Secrets stay where they belong: in memory and in the private directory; and no randomness serves twice.

Secret are the data, the weights, everything computed from them but the revealed losses, and the seeds of commitments. Two
messages for the trainer's own eyes name one value each, because it cannot be mended otherwise: a sample outside its declared
range (DataError), and an activation or gradient that left its range (PrecisionError).
"""

import copy
import dataclasses
import json
import logging
import os
import pickle
import pprint
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from harness import SMALL, Liar, data_for, prove_small, verify_small
from test_tamper import alterations
from tiny import DIMS, tiny_run
from zero_knowledge import TOY, fresh_values, prove_with, tiny_circuit, tiny_data, tiny_params

import zkjax
from zkjax.algebra.field import P
from zkjax.commitment.keys import BUDGETS, Chain, Key
from zkjax.errors import BudgetError, RunError, ZkjaxError
from zkjax.prover import prove as prover

HERE = Path(__file__).parent


@dataclasses.dataclass
class Secrets:
    """What must not be seen: integers and seeds of a run, and the seeds that its proof drew."""

    integers: set
    seeds: list

    @staticmethod
    def of(run, drawn=()) -> "Secrets":
        witness = run.witness()
        arrays = [*run.initial, *run.final, *run.data.arrays, *witness.values.values(), *witness.forms.values()]
        integers = {int(v) for x in arrays for v in np.asarray(x).reshape(-1)} | {v for row in run.loss_integers for v in row}
        return Secrets(integers, [run.keys[0].seed, run.keys[1].seed, run.chain.data.seed, *drawn])

    def in_text(self, text: str, public="") -> set:
        """Secrets that a text for people shows: integers of six digits and more that are no public numbers, and seeds."""
        known = {int(word) for word in re.findall(r"\d{6,18}", public.replace(",", ""))}
        long = {abs(v) for v in self.integers if abs(v) > 99_999} - known
        found = {int(word) for word in re.findall(r"(?<![\w.])\d{6,18}(?![\w.])", text.replace(",", ""))} & long
        return found | {seed.hex() for seed in self.seeds if seed.hex() in text or repr(seed)[2:-1] in text}

    def in_bytes(self, raw: bytes) -> set:
        """Secrets that a file holds at any place: seeds, and integers as elements of F or as int64."""
        windows = {raw[i : i + 8] for i in range(len(raw) - 7)}
        words = {v: {(v % P).to_bytes(8, "little"), (v % 2**64).to_bytes(8, "little"), (v % P).to_bytes(8, "big")} for v in self.integers}
        found = {v for v, forms in words.items() if forms & windows}
        return found | {seed.hex() for seed in self.seeds if seed in raw or seed[::-1] in raw or seed.hex().encode() in raw}


def long_run(**options):
    """(circuit, run): a slow rate makes weights integers of six and seven digits, which no text holds by chance."""
    return tiny_run(shard_size=5, rate=2**-12, **options)


@pytest.fixture(scope="module")
def proven():
    """(circuit, run, proof, secrets), the seeds of the trace and of the pads among them."""
    drawn, original = [], secrets.token_bytes
    with mock.patch("secrets.token_bytes", lambda n: drawn.append(original(n)) or drawn[-1]):
        circuit, run = long_run()
        proof = prove_small(circuit, run)
    return circuit, run, proof, Secrets.of(run, [value for value in drawn if len(value) == 32])


def test_the_search_finds_what_is_there(proven):
    """The controls of this file: weights printed, seeds printed, a weight and a seed in a file."""
    _, run, proof, hidden = proven
    weight = max(int(abs(x).max()) for x in run.final)
    assert weight > 99_999 and hidden.in_text(f"weights: [{weight}]") == {weight}
    assert hidden.in_text(repr(run.keys[0].seed)) and hidden.in_text(run.chain.data.seed.hex())
    assert len(hidden.in_text(str([x.tolist() for x in run.final]))) > 15
    value = int(run.final[0].reshape(-1)[0])
    spoilt = proof.body[:101] + (value % P).to_bytes(8, "little") + proof.body[109:]
    assert value in hidden.in_bytes(spoilt)
    assert hidden.in_bytes(b"x" + hidden.seeds[-1]) == {hidden.seeds[-1].hex()}


# ---- what is printed ------------------------------------------------------------------------------------------------
def test_printed_forms(proven):
    circuit, run, proof, hidden = proven
    committed = [value for value in run.chain._kept.values() if not isinstance(value, bytes)]
    assert len(committed) >= 4
    objects = [run, run.data, run.keys, run.chain, run.chain.openings, run.witness(), run.template, *committed, proof, proof.statement]
    objects += [proof.security, circuit, prover.make_plan(run), Liar(run).witness, {"run": run}, [run]]
    public = f"{circuit} {circuit.to_json()} {proof.statement.to_json()}"
    for thing in objects:
        for text in (repr(thing), str(thing), f"{thing}", pprint.pformat(thing)):
            assert not hidden.in_text(text, public), type(thing)
    named = {"circuit", "first_step", "steps", "seed", "shard_size", "begins", "coarse_shifts", "widths"}
    named |= {"initial_bound", "final_bound", "data"}
    assert {f.name for f in dataclasses.fields(run) if f.repr} == named  # all of them public, but data: a Dataset shows nothing
    assert repr(run.data) == "Dataset(12 samples: (3,), (2,))"


def test_a_run_is_not_copied_in_memory(proven):
    """Its counters would count on both sides; a proof may go anywhere."""
    _, run, proof, hidden = proven
    for act in (pickle.dumps, copy.deepcopy):
        for thing in (run, run.chain, run.chain.openings, run.keys):
            with pytest.raises(RunError, match="save"):
                act(thing)
    assert pickle.loads(pickle.dumps(proof)) == proof
    assert hidden.in_bytes(pickle.dumps(proof)) <= {0}  # of the pickle's own frame


def test_logs_warnings_and_progress(capfd, caplog, tmp_path):
    """Everything that a whole life of a run writes, at the most talkative setting."""
    noted = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        circuit, run = long_run()
        proof = zkjax.prove(circuit, run, progress=lambda *call: noted.append(call), minimum_bits=15.0)
        run.save(tmp_path)
        zkjax.Run.load(tmp_path)
        verify_small(circuit, proof)
    out, err = capfd.readouterr()
    text = "\n".join([out, err, caplog.text, str(noted), *(str(w.message) for w in warned)])
    assert noted
    assert not Secrets.of(run).in_text(text, str(circuit.to_json()) + str(proof.statement.to_json()))


def test_the_bar_shows_sizes_only(capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    circuit, run = long_run()
    proof = zkjax.prove(circuit, run, progress="auto", minimum_bits=15.0)
    out, err = capfd.readouterr()
    assert not Secrets.of(run).in_text(out + err, str(circuit.to_json()) + str(proof.statement.to_json()))


# ---- errors ---------------------------------------------------------------------------------------------------------
def failures(run, data, directory):
    """(name, what raises) of a trainer's errors, wherever a secret is at hand. data: what the run was trained on, as floats."""
    circuit = run.circuit
    altered = dataclasses.replace(run, final=tuple(x + 1 for x in run.final), kept=None)
    lossy = dataclasses.replace(run, loss_integers=tuple(tuple(v + 1 for v in row) for row in run.loss_integers), kept=None)
    holed = np.where(np.arange(len(data[0])) == 2, np.nan, data[0].T).T
    yield "another circuit", lambda: zkjax.prove(dataclasses.replace(circuit, table_bits=circuit.table_bits + 1), run, progress=None)
    yield "too little security", lambda: zkjax.prove(circuit, run, progress=None, minimum_bits=200.0)
    yield "altered weights", lambda: prove_small(circuit, altered)
    yield "altered losses", lambda: prove_small(circuit, lossy)
    yield "other data", lambda: zkjax.train(circuit, run, tuple(x[::-1] for x in data), steps=1)
    yield "data of another shape", lambda: zkjax.train(circuit, run, tuple(x[:, :1] for x in data), steps=1)
    yield "data that is not finite", lambda: zkjax.train(circuit, run, (holed, *data[1:]), steps=1)
    yield "weights that are not finite", lambda: zkjax.train(circuit, [x * np.inf for x in run.final], data, steps=1)
    yield "a bad shape", lambda: zkjax.train(circuit, [np.ones(3)] * len(run.final), run.data, steps=1)
    yield "too many steps", lambda: zkjax.train(circuit, run, None, steps=2**60)
    for op in ("rescale", "sign", "input"):
        for place in (..., (0, 0, 0)):
            yield f"a lie at {op} {place}", lambda op=op, place=place: lying(run, op, place)
    yield "not enough openings", lambda: exhausted(run)
    run.save(directory)
    yield "params of another shape", lambda: zkjax.Run.load(directory, params=[np.ones(3)] * len(run.final))
    text = json.loads((directory / "run.json").read_text())
    rng = np.random.default_rng(0)
    for kind, path, changed in alterations(text, []):
        if rng.random() < 0.25:
            yield f"{kind} {path}", lambda changed=changed: load_altered(directory, changed)


def lying(run, op, place):
    """The prover's own check finds values far from all tables; what it spends is counted apart."""
    computed = run.witness()
    computed.values[run.circuit.of(op)[0]][place] += 2**10
    apart = dataclasses.replace(run, chain=Chain(run.chain.data, geometry=run.chain.geometry))
    with mock.patch.object(type(run), "witness", lambda self: computed):
        prove_small(run.circuit, apart)


def exhausted(run):
    """All openings were used up by proofs that never came to an end; counted apart."""
    apart = dataclasses.replace(run, chain=Chain(run.chain.data, geometry=run.chain.geometry))
    apart.chain.openings.spent[f"{run.keys[0].name} {run.first_step} parameters"] = BUDGETS["weights"]
    prove_small(run.circuit, apart)


def load_altered(directory, changed):
    (directory / "run.json").write_text(json.dumps(changed))
    zkjax.Run.load(directory)


def told(act) -> tuple[str, str]:
    """(type, text) of the error that this raises: its message, those of the errors behind it, all with the source lines of
    the traceback; empty where nothing is raised. The private files' names end in a keyed hash, which is left out: keys differ."""
    try:
        act()
    except ZkjaxError as raised:
        error, texts = raised, []
        while error is not None:
            texts += [str(error), repr(error), *traceback.format_exception(error)]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return type(raised).__name__, re.sub(r"\b(data|weights)-[0-9a-fA-F]{32}", r"\1-HASH", "\n".join(texts))
    return "", ""


def test_errors_name_no_secret(tmp_path):
    """No long integer, and no seed."""
    circuit, run = long_run()
    hidden, raised = Secrets.of(run), set()
    public = str(circuit.to_json())
    for name, act in failures(run, data_for(DIMS), tmp_path):
        kind, text = told(act)
        raised.add(kind)
        assert not hidden.in_text(text, public), name
    assert {"RunError", "ConfigurationError", "BudgetError", "DataError", "UnsatisfiedWitnessError", "FormatError"} <= raised


@pytest.fixture(scope="module")
def twins():
    """Two runs of one public statement, and their data: other data, weights and seeds, the same names of commitments."""
    circuit, found = tiny_circuit(), []
    for which in range(2):
        run = zkjax.train(circuit, tiny_params(which, dead=bool(which)), tiny_data(which), steps=2, seed=1, shard_size=2)
        keys = [Key(bytes([which]) * 31 + bytes([i]), f"key {i}") for i in range(3)]
        run = dataclasses.replace(run, keys=tuple(keys[:2]), chain=Chain(keys[2], geometry=SMALL))
        found.append((run, tiny_data(which)))
    return found


def everything_told(run, data, directory) -> dict:
    shutil.rmtree(directory, ignore_errors=True)
    return {name: told(act) for name, act in failures(run, data, directory)}


def test_errors_are_the_same_for_other_secrets(twins, tmp_path):
    """So no value is in them, however short, nor anything else that follows from a secret."""
    first, second = (everything_told(run, data, tmp_path / "run") for run, data in twins)
    assert first.keys() == second.keys()
    for name, text in first.items():
        assert text == second[name], name
    assert {kind for kind, _ in first.values()} >= {
        "RunError", "ConfigurationError", "BudgetError", "DataError", "UnsatisfiedWitnessError", "FormatError", "PrecisionError",
    }  # fmt: skip


def test_a_short_secret_in_an_error_is_noticed(twins):
    """The control: an integer of one or two digits, which no search for secrets in a text would find."""

    def fails(self):
        raise RunError(f"the first loss is {self.loss_integers[0][0] % 100}")

    with mock.patch.object(zkjax.Run, "witness", fails):
        fresh = [dataclasses.replace(run, chain=Chain(run.chain.data, geometry=SMALL)) for run, _ in twins]
        texts = [told(lambda run=run: prove_small(run.circuit, run)) for run in fresh]
    assert texts[0] != texts[1] and not any(Secrets.of(run).in_text(text) for (run, _), (_, text) in zip(twins, texts, strict=True))


def test_two_errors_name_one_value(twins):
    """The exceptions, exactly: where two runs fail at one place, their errors differ in the value alone."""
    circuit, samples, activations, values = twins[0][0].circuit, [], [], set()
    for which, value in enumerate((2.5, -7.25)):
        data = tiny_data(which)
        data[0][1, 0] = value
        kind, text = told(lambda data=data: zkjax.train(circuit, tiny_params(0), data, steps=2))
        assert kind == "DataError" and f"sample 1: the value {value} lies" in text
        samples.append(text.replace(f"the value {value} lies", "VALUE"))
        params = jax.tree.map(lambda x: x * 64, tiny_params(which))
        kind, text = told(lambda params=params, which=which: zkjax.train(circuit, params, tiny_data(which), steps=2))
        assert kind == "PrecisionError"
        match = re.search(r"holds (-?\d+) = (-?[\d.]+), outside", text)
        values.add(match[1])
        activations.append(text.replace(match[0], "VALUE"))
    assert len(values) == 2 and samples[0] == samples[1] and activations[0] == activations[1]


def test_damaged_archives_name_no_secret(twins, tmp_path):
    """Libraries that read archives quote in their errors what they found instead of a header: that may be the arrays."""
    texts = []
    for run, _ in twins:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        run.save(tmp_path / "run")
        texts.append({})
        for path in (tmp_path / "run").glob("*.npz"):
            raw = path.read_bytes()
            for at in (*range(30), *range(len(raw) - 64, len(raw))):  # the first entry's header, the directory's end
                path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
                texts[-1][path.name.partition("-")[0], at] = told(lambda: zkjax.Run.load(tmp_path / "run"))
            path.write_bytes(raw)
    assert texts[0].keys() == texts[1].keys() and {kind for kind, _ in texts[0].values()} >= {"", "FormatError"}
    for place, text in texts[0].items():
        assert text == texts[1][place], place


# ---- files ----------------------------------------------------------------------------------------------------------
WATCHED: list | None = None


def _watch(event, arguments):
    if WATCHED is not None and event in ("open", "os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp", "os.link", "os.symlink"):
        WATCHED.append((event, arguments))


sys.addaudithook(_watch)


def writes(events) -> set[str]:
    """Paths that were opened for writing, made, renamed to or linked."""
    found = set()
    for event, arguments in events:
        if event == "open":
            path, mode, flags = arguments
            writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else 0
            if isinstance(path, str | bytes | os.PathLike) and (writing or (mode and set(mode) & set("wax+"))):
                found.add(os.fspath(path))
        elif event in ("os.rename", "os.link", "os.symlink"):
            found.add(os.fspath(arguments[1]))
        else:
            found.add(os.fspath(arguments[0]))
    return {path.decode() if isinstance(path, bytes) else path for path in found}


def test_only_the_private_directory_holds_secrets(tmp_path, monkeypatch):
    """All that training, proving and saving open for writing, temporary files included."""
    global WATCHED
    private, public, temporary = (tmp_path / name for name in ("private", "public", "temporary"))
    public.mkdir(), temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    WATCHED = []
    try:
        circuit, run = long_run()
        run.save(private)
        proof = prove_small(circuit, run)
        run.save(private)
        proof.save(public / "a.proof")
        circuit.save(public / "circuit.json")
        zkjax.Run.load(private)
        events = WATCHED
    finally:
        WATCHED = None
    places = {Path(path).resolve() for path in writes(events) if path != os.devnull}
    inside = {path for path in places if path == private or private in path.parents}
    assert any(path.name == "run.json" for path in inside) and places - inside == {
        public / name for name in ("a.proof", ".a.proof.new", "circuit.json")
    }
    assert not list(temporary.iterdir())
    hidden = Secrets.of(run)
    for file in public.iterdir():
        assert not hidden.in_bytes(file.read_bytes()), file
        assert not {seed for seed in hidden.seeds if seed.hex() in file.read_text(errors="replace")}
    assert hidden.in_bytes((private / "run.json").read_bytes()) >= {seed.hex() for seed in hidden.seeds}  # the control
    assert all(not path.stat().st_mode & 0o077 for path in [private, *private.iterdir()])


def test_a_proof_holds_no_secret(proven):
    _, run, proof, hidden = proven
    assert len(hidden.integers) > 50 and len(hidden.seeds) == 3 + 5
    assert not hidden.in_bytes(proof.body)
    text = bytes(proof)[: len(bytes(proof)) - len(proof.body)]
    assert not {seed for seed in hidden.in_bytes(text) if isinstance(seed, str)}
    floats = [np.asarray(leaf, dtype=kind).tobytes() for leaf in jax.tree.leaves(run.params) for kind in ("<f4", "<f8")]
    for raw in floats:
        pieces = {raw[i : i + 8] for i in range(0, len(raw) - 7, 4)}
        assert not any(piece in proof.body for piece in pieces if piece.strip(b"\0"))


# ---- fresh randomness -------------------------------------------------------------------------------------------------
def save_run(directory) -> tuple:
    """(directory, circuit) of a saved run on two shards in the smallest geometry; every opening is left."""
    circuit = tiny_circuit()
    run = zkjax.train(circuit, tiny_params(0), tiny_data(0), steps=2, seed=1, shard_size=2)
    run.chain.geometry = TOY
    run.save(directory)
    return directory, circuit


@pytest.fixture
def saved(tmp_path):
    return save_run(tmp_path / "run")


def spent(directory) -> set:
    return set(json.loads((directory / "openings.json").read_text())["spent"].values())


def share_nothing(*trials) -> None:
    values = [value for trial in trials for value in fresh_values(trial)]
    assert len(values) == len(set(values)) > 1000 * len(trials)
    assert len({trial.proof.body[:32] for trial in trials}) == len(trials)  # roots of the traces


FORKED = """
import json, os, sys
import jax
import zero_knowledge as zk, zkjax
directory, out = sys.argv[1:]
run = zkjax.Run.load(directory)  # before the fork: both processes hold the same keys
child = os.fork()
values = zk.fresh_values(zk.prove_with(run))
with open(f"{out}.{'parent' if child else 'child'}", "w") as file:
    json.dump(values, file)
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
cache = os.environ["JAX_COMPILATION_CACHE_DIR"]
def train(*witness):
    return zkjax.train(run.circuit, *witness, steps=2, seed=1, shard_size=2)
train(zk.tiny_params(0), zk.tiny_data(0))
compiled = [set(os.listdir(cache))]
def look():
    compiled.append(set(os.listdir(cache)))
    jax.clear_caches()
look()
other = train(zk.tiny_params(1, dead=True), zk.tiny_data(1))
other.chain.geometry = zk.TOY
zk.prove_with(other)
look()
for data in (run.data.arrays[0], other.data.arrays[0]):  # the control: data as a constant of a compiled function
    with jax.enable_x64(True):
        jax.jit(lambda x: (x + data).sum() * 3)(data)
    look()
with open(f"{out}.compiled", "w") as file:
    json.dump([sorted(b - a) for a, b in zip(compiled, compiled[1:])], file)
"""


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """(directory, values of both processes, what was compiled anew in each part) of two proofs after a fork."""
    base = tmp_path_factory.mktemp("forked")
    save_run(base / "run")
    settings = {"DIR": str(base / "cache"), "MIN_COMPILE_TIME_SECS": "0", "MIN_ENTRY_SIZE_BYTES": "-1"}
    names = {"DIR": "JAX_COMPILATION_CACHE_DIR"}
    variables = {names.get(name, f"JAX_PERSISTENT_CACHE_{name}"): value for name, value in settings.items()}
    command = [sys.executable, "-W", "ignore", "-c", FORKED, base / "run", base / "values"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    values = [v for name in ("parent", "child") for v in json.loads((base / f"values.{name}").read_text())]
    return base / "run", values, json.loads((base / "values.compiled").read_text())


def test_proofs_after_a_fork_share_nothing(forked):
    directory, values, _ = forked
    assert len(values) == len(set(values)) > 2000
    assert spent(directory) == {2}


def test_compiled_functions_hold_no_secret(forked):
    """JAX may keep what it compiles on disk, by a name that hashes all constants in it: another witness compiles nothing new."""
    _, _, (first, other, *controls) = forked
    assert not other and not first
    assert all(any("lambda" in name for name in names) for names in controls), "a constant would not be noticed"


def test_copied_directories_share_counters_and_no_pads(saved, tmp_path):
    """On one machine a copy finds the original, whose path it holds."""
    directory, circuit = saved
    shutil.copytree(directory, tmp_path / "copy")
    runs = [zkjax.Run.load(path) for path in (directory, tmp_path / "copy")]
    share_nothing(*(prove_with(run) for run in runs))
    assert spent(directory) == spent(tmp_path / "copy") == {2}


def test_a_restored_backup_repeats_no_pads(saved, tmp_path):
    """What it does repeat is openings: the counters are those of the backup, which nothing can notice."""
    directory, circuit = saved
    shutil.copytree(directory, tmp_path / "backup")
    first = prove_with(zkjax.Run.load(directory))
    assert spent(directory) == {1}
    shutil.rmtree(directory)
    shutil.move(tmp_path / "backup", directory)
    again = prove_with(zkjax.Run.load(directory))
    third = prove_with(zkjax.Run.load(directory))
    share_nothing(first, again, third)
    assert spent(directory) == {2}  # three were made
    assert first.proof.statement == again.proof.statement == third.proof.statement


# ---- spent before released ----------------------------------------------------------------------------------------------
STOPPED = """
import sys, time
import zkjax
from zkjax.prover import prove as prover
run = zkjax.Run.load(sys.argv[1])
def stop(*_):
    print("spent", flush=True)
    time.sleep(600)
prover.make_masks = stop  # the first thing that is computed for the opening
zkjax.prove(run.circuit, run, progress=None, minimum_bits=-1000.0)
"""


def test_a_kill_after_spending_wastes_a_unit(saved):
    directory, circuit = saved
    child = subprocess.Popen([sys.executable, "-c", STOPPED, directory], cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "spent\n"
        assert spent(directory) == {1}  # on disk before there is any proof
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    finally:
        child.kill()
        child.stdout.close()
    run = zkjax.Run.load(directory)
    prove_with(run)  # the lock of a killed process is gone
    assert spent(directory) == {2}


def test_nothing_is_drawn_before_the_unit_is_on_disk(saved, monkeypatch):
    """No seed of a trace, no pad, no commitment to a trace: each looks at the counters on disk."""
    directory, circuit = saved
    run, seen = zkjax.Run.load(directory), []

    def looking(name, function):
        def call(*arguments, **options):
            if options.get("kind") not in ("weights", "shard"):
                seen.append((name, spent(directory)))
            return function(*arguments, **options)

        return call

    for name in ("make_masks", "commit", "open_claim", "Proof", "_random_elements"):
        monkeypatch.setattr(prover, name, looking(name, getattr(prover, name)))
    monkeypatch.setattr(prover, "secrets", mock.Mock(token_bytes=looking("token_bytes", secrets.token_bytes)))
    zkjax.prove(circuit, run, progress=None, minimum_bits=-1000.0, verify=False)
    assert {name for name, _ in seen} == {"make_masks", "commit", "open_claim", "Proof", "_random_elements", "token_bytes"}
    assert all(counters == {1} for _, counters in seen)


def test_a_failure_after_spending_gives_nothing_back(saved, monkeypatch):
    directory, circuit = saved
    run = zkjax.Run.load(directory)
    with monkeypatch.context() as patch:
        patch.setattr(prover, "open_claim", mock.Mock(side_effect=MemoryError))
        for number in range(TOY.max_budget):
            with pytest.raises(MemoryError):
                zkjax.prove(circuit, run, progress=None, minimum_bits=-1000.0)
            assert max(spent(directory)) == number + 1
    with pytest.raises(BudgetError, match="not finished: wait for it"):
        zkjax.prove(circuit, zkjax.Run.load(directory), progress=None, minimum_bits=-1000.0)
