"""Bad input has an error of its own class that names the culprit and the cure: runs, saved runs, opening budgets, data, files.

What tracing refuses is in ``test_tracing.py``, what training refuses in ``test_training.py``, altered proofs in ``test_tamper.py``.
"""

import dataclasses
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from counting import take, taken
from harness import data_for, mlp_params, prove_small, verify_small
from tiny import DIMS, TINY, chain, next_run, tiny_run

import zkjax
from zkjax.commitment.openings import Openings
from zkjax.errors import (
    BudgetError,
    ConfigurationError,
    DataError,
    FormatError,
    PrecisionError,
    ReplacedWarning,
    RunError,
    VerificationError,
    ZkjaxError,
)
from zkjax.training import saved as state


# ---- precision --------------------------------------------------------------------------------------------------
def test_a_run_too_long_for_its_bounds():
    """Named: the parameter or operation, its bound, and what to change."""
    circuit, run = tiny_run()
    with pytest.raises(
        PrecisionError, match=r"(parameter \d/\w|operation \d+ \w+ .*) may reach 2\^6\d.*steps; use chunks of at most \d+ steps$"
    ) as error:
        zkjax.train(circuit, mlp_params(DIMS), run.data, steps=2**50)
    longest = int(str(error.value).split()[-2])
    assert circuit.bounds(run.initial_bound, longest)
    with pytest.raises(PrecisionError):
        circuit.bounds(run.initial_bound, longest + 1)


def test_a_chain_too_long_for_its_bounds():
    """Its weights' bound leaves no room for another step."""
    circuit, run = tiny_run()
    grown = tuple(2**62 for _ in run.initial_bound)
    with pytest.raises(PrecisionError, match=r"in a chunk of 1 steps; train with a smaller learning rate"):
        circuit.bounds(grown, 1, first_step=5)
    with pytest.raises(PrecisionError, match=r"; use smaller initial parameters, or give fewer of the"):
        circuit.bounds(grown, 1)


def test_a_layer_too_wide_for_its_bounds():
    params = {"w": jax.ShapeDtypeStruct((2**13, 4), jnp.float32)}
    batch = (jax.ShapeDtypeStruct((64, 2**13), jnp.float32), jax.ShapeDtypeStruct((64, 4), jnp.float32))
    formats = zkjax.Precision(activation_scale=12, activation_bits=17, gradient_scale=20, gradient_bits=17, data_bits=(17, 17), tensors={})
    with pytest.raises(
        PrecisionError, match=r"operation \d+ \w+ .*beyond 2\^63.*in a chunk of 16 steps; give fewer of the \d+ bits after the point"
    ):
        zkjax.trace(lambda p, x, y: jnp.mean((x @ p["w"] - y) ** 2), optax.sgd(2**-7), params, batch=batch, precision=formats, chunk=16)


def test_large_initial_parameters():
    circuit, run = tiny_run()
    params = [{k: 2.0**40 * v for k, v in layer.items()} for layer in mlp_params(DIMS)]
    with pytest.raises(PrecisionError, match=r"2\^\d+.*; use smaller initial parameters, or"):
        zkjax.train(circuit, params, run.data, steps=1)


# ---- data -------------------------------------------------------------------------------------------------------
def test_the_ends_of_the_declared_range():
    circuit, _ = tiny_run()
    x, y = (np.zeros((6, n), np.float32) for n in (3, 2))
    unit, bound = 2.0**-4, 2**7
    for value, fits in ((-bound, True), (bound - 1, True), (bound, False), (-bound - 1, False)):
        for integral in (False, True):
            array = x.copy()
            array[4, 1] = value * unit
            data = zkjax.Dataset(((array / unit).astype(np.int64), y.astype(np.int64))) if integral else (array, y)
            if fits:
                assert zkjax.Dataset.of(circuit, data).arrays[0][4, 1] == value
            else:
                with pytest.raises(DataError, match=r"'x', sample 4.*outside the declared range \[-8, 8\).*data_bits"):
                    zkjax.train(circuit, mlp_params(DIMS), data, steps=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value):
    circuit, _ = tiny_run()
    x, y = data_for(DIMS, 12)
    y[7, 1] = value
    with pytest.raises(DataError, match="'y', sample 7: a value is not finite"):
        zkjax.train(circuit, mlp_params(DIMS), (x, y), steps=1)
    params = mlp_params(DIMS)
    params[1]["w"][0, 0] = value
    with pytest.raises(DataError, match="parameter 1/w.*not finite"):
        zkjax.train(circuit, params, data_for(DIMS, 12), steps=1)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda x, y: (x.astype(str), y), "dtype"),
        (lambda x, y: (x.astype(object), y), "dtype"),
        (lambda x, y: (x.astype("datetime64[s]"), y), "dtype"),
        (lambda x, y: (x[:, :2], y), r"shape \(12, 2\); expected \(samples, 3\)"),
        (lambda x, y: (x[..., None], y), "shape"),
        (lambda x, y: (np.float32(1), y), "shape"),
        (lambda x, y: (x, y[:5]), "5 samples, 'x' has 12"),
        (lambda x, y: (x[:2], y[:2]), "2 samples do not fill one batch of 3; give more data or trace with a smaller batch"),
        (lambda x, y: (x[:0], y[:0]), "0 samples do not fill"),
        (lambda x, y: [x], "2 arrays"),
        (lambda x, y: None, "2 arrays"),
        (lambda x, y: zkjax.Dataset((x, y)), "dtype float32; a Dataset holds int64"),
    ],
)
def test_data_of_the_wrong_kind(spoil, message):
    circuit, _ = tiny_run()
    with pytest.raises(DataError, match=message):
        zkjax.train(circuit, mlp_params(DIMS), spoil(*data_for(DIMS, 12)), steps=1)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 2**64}, {"shard_size": 0}, {"shard_size": -3}, {"steps": 0}])
def test_numbers_out_of_range(arguments):
    circuit, run = tiny_run()
    with pytest.raises(ZkjaxError, match=next(iter(arguments)).replace("shard_size", "shard").rstrip("s")):
        prove_small(circuit, zkjax.train(circuit, mlp_params(DIMS), run.data, **{"steps": 1} | arguments))


# ---- runs -------------------------------------------------------------------------------------------------------
def test_a_run_of_another_circuit():
    circuit, run = tiny_run()
    for other in (tiny_run(rate=1 / 16)[0], tiny_run(batch=2)[0], tiny_run((3, 5, 2))[0]):
        with pytest.raises(RunError, match="another circuit.*run.circuit"):
            prove_small(other, run)
    for nonsense in (None, "circuit.json", circuit.to_json()):
        with pytest.raises(RunError):
            prove_small(nonsense, run)
    assert run.chain.openings.spent == {}


def test_a_run_that_was_altered():
    circuit, run = tiny_run()
    other = zkjax.Dataset(tuple(x + 1 for x in run.data.arrays))
    for change in ({"initial": run.final}, {"final": run.initial}, {"data": other}, {"seed": 5}, {"steps": 1}):
        with pytest.raises(RunError, match="altered or belongs to other data"):  # as of a run that was loaded
            prove_small(circuit, dataclasses.replace(run, kept=None, **change))
        with pytest.raises(RunError):  # as of one that keeps its tensors
            prove_small(circuit, dataclasses.replace(run, **change))
    assert run.chain.openings.spent == {}


def test_too_little_security_spends_nothing():
    circuit, run = tiny_run()
    with pytest.raises(ConfigurationError, match="below the target of 100.*weakest terms.*fewer steps in a chunk"):
        zkjax.prove(circuit, run, progress=None)
    assert run.chain.openings.spent == {}


@pytest.mark.parametrize("limit, fewest", [("MAX_STEPS", 2), ("MAX_SAMPLES", 6)])
def test_a_chunk_that_no_statement_may_hold(monkeypatch, limit, fewest):
    """Refused before anything is spent: two steps of three samples."""
    circuit, run = tiny_run()
    monkeypatch.setattr(f"zkjax.prover.prove.{limit}", fewest - 1)
    with pytest.raises(ConfigurationError, match="2 steps of 3 samples; a proof holds at most .*shorter chunks"):
        prove_small(circuit, run)
    assert run.chain.openings.spent == {}
    monkeypatch.setattr(f"zkjax.prover.prove.{limit}", fewest)
    verify_small(circuit, prove_small(circuit, run))


# ---- opening budgets --------------------------------------------------------------------------------------------
def test_only_shards_that_are_read_are_spent():
    circuit, run = tiny_run(shard_size=5)
    prove_small(circuit, run)
    read = np.unique(run.indices // 5).tolist()
    assert len(read) == 2
    assert {name.split()[1] for name in run.chain.openings.spent if name.startswith(run.chain.data.name)} == set(map(str, read))


def test_a_reloaded_run_has_no_more_openings(tmp_path):
    """Whichever run is proven, in memory or loaded, from whichever directory: each proof takes one unit more."""
    circuit, run = tiny_run()
    prove_small(circuit, run)
    run.save(tmp_path / "a")
    loaded = zkjax.Run.load(tmp_path / "a")
    assert not prove_small(circuit, loaded).statement.links
    proofs = [prove_small(circuit, run)]  # the third
    assert [link.source for link in proofs[0].statement.links] == ["initial", "final", "shard 0"]
    loaded.save(tmp_path / "b")
    proofs += [prove_small(circuit, zkjax.Run.load(tmp_path / name)) for name in "ba"]
    assert [len(proof.statement.links) for proof in proofs] == [3, 3, 3]  # the last one those of the fresh ones
    a, b = (zkjax.Run.load(tmp_path / name).chain.openings for name in "ab")
    assert (a.spent, a.replaced) == (b.spent, b.replaced) and sorted(a.spent.values()) == [1, 1, 1, 3, 3, 3, 4, 4, 4]


def test_a_unit_is_spent_before_it_is_used(tmp_path, monkeypatch):
    """A proof that dies half way has used up its openings, also on disk."""
    import zkjax.prover.prove

    circuit, run = tiny_run()
    run.save(tmp_path / "a")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(zkjax.prover.prove, "argument", die)
    monkeypatch.setattr(zkjax.prover.prove, "dry_run", zkjax.prover.prove.dry_run)
    with pytest.raises(KeyboardInterrupt):
        prove_small(circuit, run)
    assert sorted(run.chain.openings.spent.values()) == [1, 1, 1]
    assert json.loads((tmp_path / "a" / "openings.json").read_text())["spent"] == run.chain.openings.spent


SPENDER = """
import sys
from counting import take
from zkjax.errors import BudgetError
from zkjax.commitment.openings import Openings
openings = Openings("chain")
openings.bind(sys.argv[1])
sys.stdin.readline()
taken = 0
for _ in range(30):
    try:
        take(openings, a=40, b=50)
        taken += 1
    except BudgetError:
        pass
print(taken)
"""


def test_two_processes_share_one_budget(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(zkjax.__file__).parents[1]), str(Path(__file__).parent)))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    for process in processes:  # both are ready before either starts
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [int(process.communicate()[0]) for process in processes]
    assert sum(done) == 40
    assert taken(json.loads((tmp_path / "openings.json").read_text())["spent"]) == {"a": 40, "b": 40}
    late = Openings("chain")
    late.bind(tmp_path)
    with pytest.raises(BudgetError):
        take(late, a=40)
    take(late, b=41, c=1)
    with pytest.raises(BudgetError):
        take(late, b=50, c=1)
    assert taken(late.spent) == {"a": 40, "b": 41, "c": 1}


COUNTERS = '{{"directories": [], "mark": "chain", "replaced": {{}}, "spent": {}}}'
SPENT = ["[]", '{"a": -1}', '{"a": 1.5}', '{"a": true}', '{"a": "1"}', "null"]


@pytest.mark.parametrize("content", ["", "{", "null", "[" * 10**5, *(COUNTERS.format(x) for x in SPENT)])
def test_counters_that_cannot_be_read_allow_nothing(tmp_path, content):
    openings = Openings("chain")
    openings.bind(tmp_path)
    take(openings, a=3)
    (tmp_path / "openings.json").write_text(content)
    with pytest.raises(FormatError, match="openings.json"):
        take(openings, a=3)
    with pytest.raises(FormatError):
        Openings("chain").bind(tmp_path)
    assert taken(openings.spent) == {"a": 1}


# ---- saved runs -------------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path):
    """(circuit, run, its directory)."""
    circuit, run = tiny_run(shard_size=5)
    run.save(tmp_path / "run")
    return circuit, run, tmp_path / "run"


def same(a, b) -> bool:
    fields = [
        f.name
        for f in dataclasses.fields(a)
        if f.name not in ("circuit", "data", "initial", "final", "chain", "template", "kept", "roundings")
    ]
    arrays = [(*x.initial, *x.final, *x.data.arrays) for x in (a, b)]
    return (
        all(getattr(a, name) == getattr(b, name) for name in fields)
        and a.circuit.digest() == b.circuit.digest()
        and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(*arrays, strict=True))
        and (a.chain.data, a.chain.geometry) == (b.chain.data, b.chain.geometry)
    )


def test_a_saved_run_comes_back_whole(saved):
    circuit, run, directory = saved
    loaded = zkjax.Run.load(directory)
    assert same(run, loaded)
    assert all(np.array_equal(a, b) for a, b in zip(next_run(circuit, run).final, next_run(circuit, loaded).final))
    assert jax.tree.structure(loaded.params) == jax.tree.structure(run.params)
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(run.params), strict=True))


def test_another_chains_run_is_not_overwritten(saved, monkeypatch):
    """Running an example twice would else delete seeds and counters of the first chain."""
    _, run, directory = saved
    monkeypatch.setattr(state, "_saved", {})  # as in another process
    _, other = tiny_run(shard_size=5)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(RunError, match="another chain .*replace=True"):
        other.save(directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    next_run(run.circuit, run).save(directory)  # of the same chain
    run.save(directory)
    (directory / "openings.json").write_text("no counters")
    with pytest.raises(RunError, match="another chain"):
        other.save(directory)
    other.save(directory, replace=True)
    assert same(other, zkjax.Run.load(directory))
    prove_small(run.circuit, run)  # it has lost this directory, and goes on without it
    assert json.loads((directory / "openings.json").read_text())["spent"] == {}


def test_a_process_replaces_what_it_has_saved_itself(saved, tmp_path):
    """A cell of a notebook that runs again is told, and what another process has saved in the meantime is kept."""
    _, run, directory = saved
    _, other = tiny_run(shard_size=5)
    with pytest.warns(ReplacedWarning, match="another chain's run, which this process"):
        other.save(directory)
    assert same(other, zkjax.Run.load(directory))
    foreign = tiny_run(shard_size=5)[1]
    foreign.save(tmp_path / "foreign")
    for name in ("run.json", "openings.json"):
        shutil.copy(tmp_path / "foreign" / name, directory / name)
    with pytest.raises(RunError, match="another chain"):
        run.save(directory)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_private_files_are_private(tmp_path, mask):
    circuit, run = tiny_run()
    old = os.umask(mask)
    try:
        run.save(tmp_path / "run")
        run.save(tmp_path / "run")
        zkjax.Run.load(tmp_path / "run")
    finally:
        os.umask(old)
    directory = tmp_path / "run"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()}
    assert set(files.values()) == {0o600}
    assert {"run.json", "openings.json", "PRIVATE.txt"} <= set(files) and len(files) > 6
    assert "PRIVATE" in (directory / "PRIVATE.txt").read_text() and "private" in json.loads((directory / "run.json").read_text())["format"]


def test_a_directory_that_others_could_read_is_closed(tmp_path):
    (tmp_path / "run").mkdir(mode=0o755)
    os.chmod(tmp_path / "run", 0o755)
    tiny_run()[1].save(tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_secrets_are_never_printed(saved):
    _, run, directory = saved
    for text in (repr(run), str(run), repr(run.keys), repr(run.chain), repr(zkjax.Run.load(directory))):
        for key in (*run.keys, run.chain.data):
            assert key.seed.hex() not in text and repr(key.seed) not in text


def test_no_run_there(tmp_path):
    with pytest.raises(RunError, match="no run is saved here.*run.save"):
        zkjax.Run.load(tmp_path)
    with pytest.raises(RunError, match="no run is saved here"):
        zkjax.Run.load(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("text")
    with pytest.raises(ZkjaxError, match="file"):
        zkjax.Run.load(tmp_path / "file")
    (tmp_path / "odd" / "run.json").mkdir(parents=True)
    with pytest.raises(ZkjaxError, match="odd"):
        zkjax.Run.load(tmp_path / "odd")


@pytest.mark.parametrize("name", ["run.json", "circuit", "weights", "data"])
def test_missing_and_damaged_files(saved, name):
    _, run, directory = saved
    path = next(directory.glob(f"{name}*"))
    raw = path.read_bytes()
    damaged = [
        b"",
        raw[:1],
        raw[: len(raw) // 2],
        raw[:-1],
        raw[:-40],
        raw[1:],
        b"\x00" * len(raw),
        b"[" * 10**5,
        b"PK\x03\x04",
        b"\xff\xfe",
    ]
    step = max(1, len(raw) // 25)
    damaged += [raw[:i] + bytes([raw[i] ^ 255]) + raw[i + 1 :] for i in range(0, len(raw), step)]
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = zkjax.Run.load(directory)
        except (RunError, FormatError) as error:
            assert directory.name in str(error)
        else:  # the damage changed nothing that matters, or it is found before anything is proven
            if not same(loaded, run):
                with pytest.raises(ZkjaxError):
                    loaded.witness()
    path.unlink()
    with pytest.raises(RunError, match="run.json is missing" if name == "run.json" else "incomplete"):
        zkjax.Run.load(directory)


def test_every_entry_of_a_saved_run(saved):
    """Removed or of another type: refused when it is loaded."""
    _, run, directory = saved
    path = directory / "run.json"
    content = json.loads(path.read_text())
    for place in _leaves(content):
        for wrong in _removed, None, "x", -1, 1.5, [], {}, [None], 10**30:
            altered = json.loads(json.dumps(content))
            parent = altered
            for key in place[:-1]:
                parent = parent[key]
            possible = {"shard_size": None, "geometry": None, "name": "x", "loss_integers": -1, "max_budget": 10**30}
            if parent[place[-1]] == wrong or any(name in place and wrong == value for name, value in possible.items()):
                continue
            if wrong is _removed:
                if isinstance(parent, list):
                    continue
                del parent[place[-1]]
            else:
                parent[place[-1]] = wrong
            path.write_text(json.dumps(altered))
            with pytest.raises((RunError, FormatError)):
                zkjax.Run.load(directory)
                pytest.fail(f"{place} as {wrong!r} was accepted")


_removed = object()


def _leaves(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if path:
        yield path
    for key, child in children:
        yield from _leaves(child, (*path, key))


def test_a_saved_run_of_another_version(saved):
    _, _, directory = saved
    content = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(content | {"version": state.VERSION + 1}))
    with pytest.raises(FormatError, match=f"version {state.VERSION + 1}, this zkjax reads version {state.VERSION}"):
        zkjax.Run.load(directory)


def stored(entries) -> bytes:
    """A zip archive of (name, length that its entry claims, where it starts) behind some bytes."""
    raw, front = entries
    listing = b""
    for name, length, offset in front:
        crc = zlib.crc32(raw[offset + 30 + len(name) :][:length])
        header = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, crc, length, length, len(name), 0, 0, 0, 0, 0, offset)
        listing += header + name
    return raw + listing + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(front), len(front), len(listing), len(raw), 0)


def nested(count: int, length: int) -> bytes:
    """Each entry's bytes are all that follows its header, the entries after it included."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(length, dtype=np.int8))
    body, front = buffer.getvalue(), []
    for i in range(count):
        name = b"x%d.npy" % i
        front = [(name, len(body), 0), *((n, size, at + 30 + len(name)) for n, size, at in front)]
        body = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, zlib.crc32(body), len(body), len(body), len(name), 0) + name + body
    return stored((body, front))


def alone(header: dict, payload=b"") -> bytes:
    """An archive with one array of this header."""
    text = repr(header).encode().ljust(117) + b"\n"
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload
    name = b"data0.npy"
    head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, zlib.crc32(raw), len(raw), len(raw), len(name), 0) + name
    return stored((head + raw, [(name, len(raw), 0)]))


ARCHIVES = {
    "nested": nested(50, 20_000),
    "2^45 entries": alone({"descr": "<i8", "fortran_order": False, "shape": (2**45,)}),
    "no bytes each": alone({"descr": "|V0", "fortran_order": False, "shape": (2**33,)}),
    "objects": alone({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"\x80\x04N."),
    "negative": alone({"descr": "<i8", "fortran_order": False, "shape": (-1,)}),
    "too short": alone({"descr": "<i8", "fortran_order": False, "shape": (2,)}, bytes(8)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_made_to_hurt(saved, name):
    """Refused before anything is allocated that the file does not hold."""
    _, _, directory = saved
    next(directory.glob("data-*")).write_bytes(ARCHIVES[name])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="arrays"):
            zkjax.Run.load(directory)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["run.json", "openings.json", "data-*", "weights-*"])
def test_pipes_in_the_place_of_files(saved, name):
    """Opening one would wait for a writer for ever."""
    _, _, directory = saved
    path = next(directory.glob(name))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="not an ordinary file"):
        zkjax.Run.load(directory)


def test_more_data_than_memory(saved, monkeypatch):
    _, _, directory = saved
    monkeypatch.setattr(state, "available_memory", lambda: 100)
    with pytest.raises(FormatError, match="of memory that it may take"):
        zkjax.Run.load(directory)


def test_parts_of_another_saved_run(saved, tmp_path):
    """A circuit, data or weights of another run: found when it is loaded, or before anything is proven."""
    circuit, run, directory = saved
    for options in ({"rate": 1 / 16}, {"batch": 2}, {"dims": (3, 5, 2)}):
        other, its_run = tiny_run(**options)
        path = next(directory.glob("circuit*"))
        original = path.read_bytes()
        path.write_text(json.dumps(other.to_json()))
        with pytest.raises(RunError, match="is not the circuit of this run"):
            zkjax.Run.load(directory)
        path.write_bytes(original)
    other, its_run = tiny_run(seed=1)
    its_run.save(tmp_path / "other")
    data = next(directory.glob("data-*"))
    original = data.read_bytes()
    data.write_bytes(next((tmp_path / "other").glob("data-*")).read_bytes())
    with pytest.raises(RunError, match="data was altered"):
        zkjax.Run.load(directory)
    data.write_bytes(original)
    weights = next(directory.glob("weights*"))
    weights.write_bytes(next((tmp_path / "other").glob("weights*")).read_bytes())
    with pytest.raises(ZkjaxError):
        prove_small(circuit, zkjax.Run.load(directory))
    _, wider = tiny_run((3, 5, 2))
    wider.save(tmp_path / "wider")
    weights.write_bytes(next((tmp_path / "wider").glob("weights*")).read_bytes())
    with pytest.raises((FormatError, RunError), match="weights"):
        zkjax.Run.load(directory)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("case", ["next run", "same run", "trained again", "another circuit", "first save"])
def test_killed_while_saving(tmp_path, monkeypatch, case):
    """At whatever write it ends (a kill, Ctrl-C), the directory holds the old run or the new one, whole, and that one's counters.

    A process that lives on spends there what it opens: nothing can be spent twice.
    """
    circuit, old = tiny_run(shard_size=5)
    new = {
        "next run": lambda: next_run(circuit, old),
        "same run": lambda: old,
        "trained again": lambda: tiny_run(shard_size=5, seed=1)[1],
        "another circuit": lambda: tiny_run(rate=1 / 16)[1],
        "first save": lambda: old,
    }[case]()
    replace, directory, other = os.replace, tmp_path / "run", case in ("trained again", "another circuit")
    for survivors in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if case != "first save":
            old.save(directory)
        writes = []

        def counted(source, target):
            if len(writes) == survivors:  # noqa: B023
                raise Killed
            writes.append(target)  # noqa: B023
            replace(source, target)

        monkeypatch.setattr(os, "replace", counted)
        try:
            new.save(directory, replace=other)
            died = False
        except Killed:
            died = True
        monkeypatch.setattr(os, "replace", replace)
        if died and case == "first save":
            with pytest.raises(RunError, match="no run is saved here"):
                zkjax.Run.load(directory)
        else:
            loaded = zkjax.Run.load(directory)
            assert same(loaded, new) or (died and same(loaded, old)), f"killed after {survivors} writes"
            loaded.witness()
            for run in (old, new):
                take(run.chain.openings, a_shard=100)
            owner = old if same(loaded, old) else new
            assert zkjax.Run.load(directory).chain.openings.spent == owner.chain.openings.spent != {}
            if not died:
                assert same(loaded, new)
                kept = {p.name for p in directory.iterdir() if p.suffix == ".npz"}
                counters = json.loads((directory / "openings.json").read_text())
                assert len(kept) == 2 and "others" not in counters  # nothing of the old run stays
        if not died:
            break
    assert not died and survivors >= 4


def test_save_survives_leftovers_of_a_kill(saved):
    circuit, run, directory = saved
    for name in ("run.json", next(directory.glob("weights*")).name, "openings.json"):
        (directory / f".{name}.new").write_bytes(b"half a file")
        os.chmod(directory / f".{name}.new", 0o644)
    run.save(directory)
    assert same(run, zkjax.Run.load(directory))
    assert stat.S_IMODE((directory / "run.json").stat().st_mode) == 0o600


# ---- proof files ------------------------------------------------------------------------------------------------
def test_proof_files(tmp_path):
    circuit, _, proofs = chain()
    raw, path = bytes(proofs[0]), tmp_path / "a.proof"
    header = len(zkjax.proofs.proof.MAGIC) + 6
    length = len(proofs[0].statement.canonical())
    for content, message in (
        (b"", "the file is empty"),
        (b"zkjax", "not a zkjax proof"),
        (raw[:8], "ends inside its header"),
        (raw[:13], "ends inside its header"),
        (raw[: header + length - 1], "does not fit the file"),
        (raw[: header + length], "proof body has 0 bytes"),
        (raw[:-1], "proof ends inside 'level round'"),
        (raw + b"\0", "1 bytes after its last message"),
        (raw[:8] + b"\x01\x00" + raw[10:], "format version 1, this zkjax reads version 2"),
        (b"#!/bin/sh\nexit 0\n", "not a zkjax proof"),
        (b"{}", "not a zkjax proof"),
        (raw[1:], "not a zkjax proof"),
        (raw[:10] + b"\xff\xff\xff\xff" + raw[14:], "4294967295 bytes does not fit"),
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            verify_small(circuit, zkjax.Proof.load(path))
    path.write_bytes(raw)
    other = tiny_run(rate=1 / 16)[0]
    with pytest.raises(VerificationError, match="not this one") as caught:
        verify_small(other, zkjax.Proof.load(path))
    assert caught.value.check == "circuit"
    with pytest.raises(FormatError, match="JSON"):
        zkjax.Circuit.load(path)


def test_errors_have_one_base():
    for name in dir(zkjax):
        if name.endswith("Error"):
            assert issubclass(getattr(zkjax, name), ZkjaxError)
    assert issubclass(ZkjaxError, Exception) and state.VERSION == 7 and TINY.table_bits == 9
