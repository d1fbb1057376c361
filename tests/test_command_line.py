"""The command line: exit statuses, what it prints, every pin right and wrong, and that it needs NumPy only."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.nn import relu

import zkjax
from zkjax.__main__ import main
from zkjax.proof import MAGIC

VALID, INVALID, MISUSE = 0, 1, 2
SEED = 5
PACKAGE = Path(zkjax.__file__).parent


def loss(params, x, y):
    first, last = params
    return 0.5 * jnp.mean(jnp.sum((relu(x @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"] - y) ** 2, axis=-1))


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A chain of two proofs of a net 5-4-3, their circuit, and another circuit."""
    directory = tmp_path_factory.mktemp("chain")
    rng = np.random.default_rng(0)

    def dense(a, b):
        return {"kernel": (rng.normal(size=(a, b)) / 2).astype(np.float32), "bias": np.zeros(b, np.float32)}

    params = [dense(5, 4), dense(4, 3)]
    data = (rng.uniform(size=(12, 5)).astype(np.float32), rng.uniform(size=(12, 3)).astype(np.float32))
    batch = tuple(x[:3] for x in data)
    circuit = zkjax.trace(loss, optax.sgd(1 / 8), params, batch=batch)
    circuit.save(directory / "circuit.json")
    zkjax.trace(loss, optax.sgd(1 / 4), params, batch=batch).save(directory / "other.json")
    runs = list(zkjax.chunks(circuit, params, data, steps=4, chunk=2, seed=SEED))
    proofs = [zkjax.prove(circuit, run, reveal=("loss",), progress=None) for run in runs]
    for number, proof in enumerate(proofs):
        proof.save(directory / f"{number}.proof")
    first, last = (proof.statement for proof in proofs)
    pins = {"--dataset": first.dataset.hex(), "--initial": first.initial_weights.hex(), "--seed": str(SEED), "--steps": "0:4"}
    return SimpleNamespace(
        directory=directory,
        circuit=str(directory / "circuit.json"),
        proofs=[str(directory / f"{number}.proof") for number in (0, 1)],
        runs=runs,
        first=first,
        last=last,
        pins=pins,
    )


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


def command(*arguments):
    """(exit status, standard output, standard error) of ``python -m zkjax``, in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = main(list(arguments))
        except SystemExit as end:
            status = end.code
    return status, output.getvalue(), errors.getvalue()


def verify(files, proofs=None, *options, circuit=None):
    return command("verify", *(files.proofs if proofs is None else proofs), "--circuit", circuit or files.circuit, *options)


# ---- valid proofs ---------------------------------------------------------------------------------------------


def test_a_valid_chain_prints_its_statement(files):
    status, output, errors = verify(files)
    assert (status, errors) == (VALID, "")
    assert output.startswith("VALID: 2 proofs, ")
    for shown in (files.first.circuit, files.first.dataset, files.first.initial_weights, files.last.final_weights):
        assert shown.hex() in output
    assert f"seed {SEED}, batches of 3" in output and "0..3" in output and "12 samples" in output
    assert "ASSUMED" not in output
    printed = [float(word) for word in output.rsplit("losses", 1)[1].split()]
    assert np.allclose(printed, np.concatenate([run.float_losses for run in files.runs]), rtol=1e-5)


def test_all_pins_right(files):
    assert verify(files, None, *(word for pin in files.pins.items() for word in pin))[0] == VALID


def test_json(files):
    status, output, _ = verify(files, None, "--json")
    told = json.loads(output)
    assert status == VALID and told["valid"] is True and told["bits"] >= 100 and told["seconds"] > 0
    assert told["statements"] == [files.first.to_json(), files.last.to_json()]


def test_one_proof_alone(files):
    status, output, _ = verify(files, files.proofs[:1], "--steps", "0:2")
    assert status == VALID and output.startswith("VALID: 1 proof, ")


def test_a_later_proof_alone_rests_on_an_assumption(files):
    status, output, errors = verify(files, files.proofs[1:])
    assert (status, output) == (INVALID, "") and "initial bound" in errors and "--assume-bound" in errors
    status, output, _ = verify(files, files.proofs[1:], "--assume-bound", "--steps", "2:4")
    assert status == VALID and "ASSUMED" in output


# ---- invalid proofs -------------------------------------------------------------------------------------------

WRONG = {"--dataset": "00" * 32, "--initial": "11" * 32, "--seed": "6", "--steps": "0:5"}
NAMES = {"--dataset": "pinned dataset", "--initial": "pinned initial weights", "--seed": "pinned seed", "--steps": "pinned steps"}


@pytest.mark.parametrize("pin", WRONG)
def test_a_wrong_pin(files, pin):
    pins = files.pins | {pin: WRONG[pin]}
    status, output, errors = verify(files, None, *(word for item in pins.items() for word in item))
    assert (status, output) == (INVALID, "") and f"check {NAMES[pin]}:" in errors


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 1, 1), (0, 1, 0)])
def test_wrong_order(files, order):
    status, output, errors = verify(files, [files.proofs[i] for i in order], "--assume-bound")
    assert (status, output) == (INVALID, "") and "check chain:" in errors


def test_another_circuit(files):
    status, _, errors = verify(files, circuit=str(files.directory / "other.json"))
    assert status == INVALID and "check circuit:" in errors


def test_more_security_than_there_is(files):
    status, _, errors = verify(files, None, "--minimum-bits", "120")
    assert status == INVALID and "check security:" in errors


def altered(name: str, raw: bytes) -> bytes:
    def flip(offset):
        return raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]

    return {
        "empty": b"",
        "magic": flip(0),
        "version": flip(len(MAGIC)),
        "statement's length": raw[:10] + b"\xff\xff\xff\xff" + raw[14:],
        "statement": raw.replace(b'"seed":5', b'"seed":6', 1),
        "first message": flip(raw.index(b"}", 14 + int.from_bytes(raw[10:14], "little") - 1) + 1),
        "middle": flip(len(raw) // 2),
        "last byte": flip(len(raw) - 1),
        "truncated": raw[: len(raw) // 2],
        "one byte short": raw[:-1],
        "extended": raw + b"\0",
    }[name]


@pytest.mark.parametrize(
    "name",
    ["empty", "magic", "version", "statement's length", "statement", "first message", "middle", "last byte", "truncated", "one byte short"]
    + ["extended"],
)
def test_an_altered_file(files, tmp_path, name):
    raw = (files.directory / "0.proof").read_bytes()
    bad = altered(name, raw)
    assert bad != raw
    (tmp_path / "bad.proof").write_bytes(bad)
    status, output, errors = verify(files, [str(tmp_path / "bad.proof")])
    assert (status, output) == (INVALID, "") and errors.startswith("INVALID: ")


# ---- misuse ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prove"],
        ["verify"],
        ["verify", "PROOF"],
        ["verify", "--circuit", "CIRCUIT"],
        ["verify", "PROOF", "--circuit", "nowhere.json"],
        ["verify", "nowhere.proof", "--circuit", "CIRCUIT"],
        ["verify", "PROOF", "--circuit", "PROOF"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--dataset", "abc"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--initial", "zz" * 32],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--seed", "five"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--steps", "4"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--steps", "4:4"],
        ["inspect"],
        ["inspect", "nowhere.proof"],
    ],
    ids=" ".join,
)
def test_misuse(files, arguments):
    names = {"PROOF": files.proofs[0], "CIRCUIT": files.circuit}
    status, output, errors = command(*(names.get(word, word) for word in arguments))
    assert (status, output) == (MISUSE, "") and errors


# ---- inspect --------------------------------------------------------------------------------------------------


def test_inspect_a_proof(files):
    status, output, _ = command("inspect", files.proofs[0])
    first, rest = output.split("\n", 1)
    sentence, _, fields = rest.partition("\n{")
    assert (
        status == VALID and "not verified" in first and sentence == str(files.first) and json.loads("{" + fields) == files.first.to_json()
    )


def test_inspect_a_circuit(files):
    status, output, _ = command("inspect", files.circuit)
    assert status == VALID and output.splitlines()[-1] == f"digest {files.first.circuit.hex()}"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", MAGIC, MAGIC + b"\x01\x00\x08\x00\x00\x00{}"])
def test_inspect_something_else(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    status, output, errors = command("inspect", str(tmp_path / "file"))
    assert (status, output) == (INVALID, "") and errors.startswith("INVALID: ")


# ---- what is imported -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numpy_alone(tmp_path_factory):
    """Runs the Python of an environment whose only packages are NumPy, linked, and a copy of this one; not even pip."""
    root = tmp_path_factory.mktemp("environment")
    assert python("-m", "venv", "--without-pip", root).returncode == 0
    (packages,) = root.glob("lib/python*/site-packages")
    here = Path(np.__file__).parent.parent
    for part in (*here.glob("numpy"), *here.glob("numpy.libs"), *here.glob("numpy-*.dist-info")):
        (packages / part.name).symlink_to(part)
    shutil.copytree(PACKAGE, packages / "zkjax", ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments):
        """-I: neither the working directory nor a variable of this process adds a package."""
        return subprocess.run([root / "bin" / "python", "-I", *arguments], capture_output=True, text=True, timeout=120, cwd=root)

    return run


def test_the_environment_holds_numpy_only(numpy_alone):
    program = (
        "import pkgutil, sys, zkjax\nplaces = [path for path in sys.path if path.endswith('-packages')]\n"
        "print(*(module.name for module in pkgutil.iter_modules(places)), [zkjax.__file__.startswith(path) for path in places])"
    )
    assert numpy_alone("-c", program).stdout == "numpy zkjax [True]\n"
    assert "No module named 'jax'" in numpy_alone("-c", "import jax").stderr


def test_the_verifier_needs_numpy_only(numpy_alone, files, tmp_path):
    done = numpy_alone("-m", "zkjax", "verify", *files.proofs, "--circuit", files.circuit)
    assert (done.returncode, done.stderr) == (VALID, "") and done.stdout.startswith("VALID: 2 proofs, ")
    (tmp_path / "bad.proof").write_bytes(altered("last byte", Path(files.proofs[1]).read_bytes()))
    done = numpy_alone("-m", "zkjax", "verify", files.proofs[0], str(tmp_path / "bad.proof"), "--circuit", files.circuit)
    assert (done.returncode, done.stdout) == (INVALID, "") and done.stderr.startswith("INVALID: ")
    done = numpy_alone("-m", "zkjax", "verify", files.proofs[0])
    assert (done.returncode, done.stdout) == (MISUSE, "") and "--circuit" in done.stderr
    for file in (files.proofs[0], files.circuit):
        done = numpy_alone("-m", "zkjax", "inspect", file)
        assert (done.returncode, done.stderr) == (VALID, "") and files.first.circuit.hex() in done.stdout


def test_the_verifier_needs_numpy_only_in_the_library_too(numpy_alone, files):
    program = (
        "import sys, zkjax\ncircuit = zkjax.Circuit.load(sys.argv[1])\n"
        "statements = zkjax.verify(circuit, [zkjax.Proof.load(path) for path in sys.argv[2:]])\nassert len(statements) == 2\n"
        "assert isinstance(statements[0], zkjax.Statement)"
    )
    done = numpy_alone("-c", program, files.circuit, *files.proofs)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_trainers_half_says_what_it_needs(numpy_alone):
    for name, needed in (("train", "jax"), ("trace", "jax"), ("Run", "jax")):
        done = numpy_alone("-c", f"import zkjax\nzkjax.{name}")
        assert f"zkjax.{name} needs {needed}; install zkjax with its dependencies" in done.stderr


def test_a_reader_who_leaves_early(files):
    """As with ``| head -1``: no traceback, and no success either, for nobody has seen all of it."""
    command = [sys.executable, "-m", "zkjax", "inspect", str(files.proofs[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.wait(timeout=60) == 2
        assert process.stderr.read() == ""


def loaded(program: str) -> str:
    """The trainer's dependencies that a program leaves loaded, though they are installed, as it prints them last."""
    done = python("-c", f"{program}\nprint([name for name in ('jax', 'jaxlib', 'flax', 'optax') if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_loads_no_jax():
    assert loaded("import sys, zkjax\nassert 'verify' in dir(zkjax)") == "[]"


def test_help_loads_no_jax():
    program = (
        "import runpy, sys\nsys.argv = ['zkjax', '--help']\n"
        "try:\n    runpy.run_module('zkjax', run_name='__main__')\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    assert loaded(program) == "[]"


def test_proofs_are_read_and_written_alike(files, tmp_path):
    raw = (files.directory / "0.proof").read_bytes()
    zkjax.Proof.load(files.proofs[0]).save(tmp_path / "again.proof")
    assert (tmp_path / "again.proof").read_bytes() == raw
