"""The command line: exit statuses, what it prints, every pin right and wrong, and that it needs NumPy only."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.nn import relu

import zkjax
from zkjax.__main__ import main
from zkjax.proofs.proof import MAGIC

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
    published = zkjax.Published.of({f"{number}.proof": proof.statement for number, proof in enumerate(proofs)})
    published.save(directory / "statement.json")
    pins = {"--dataset": first.dataset.hex(), "--initial": first.initial_weights.hex(), "--final": last.final_weights.hex()}
    pins |= {"--seed": str(SEED), "--steps": "0:4"}
    return SimpleNamespace(
        directory=directory,
        circuit=str(directory / "circuit.json"),
        published=str(directory / "statement.json"),
        proofs=[str(directory / f"{number}.proof") for number in (0, 1)],
        runs=runs,
        security=proofs[0].security,
        first=first,
        last=last,
        pins=pins,
    )


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def command(*arguments):
    """(exit status, standard output, standard error) of ``python -m zkjax``, in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = main(list(arguments))
        except SystemExit as end:
            status = end.code
    return status, output.getvalue(), errors.getvalue()


def quiet(*arguments):
    """The same in this process: (exit status, standard output, standard error)."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = main([*arguments])
    assert "Traceback" not in errors.getvalue()
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
    assert f"seed {SEED}, batches of 3" in output and "0:4" in output and "12 samples" in output
    assert "ASSUMED" not in output and "NO PARAMETER" not in output
    printed = [float(word) for word in output.rsplit("losses", 1)[1].split()]
    assert np.allclose(printed, np.concatenate([run.float_losses for run in files.runs]), rtol=1e-5)


ALWAYS = ["circuit", "security"]
PINNED = {"--dataset": "dataset", "--seed": "schedule", "--steps": "steps", "--initial": "initial weights", "--final": "final weights"}


def told(output: str) -> tuple[list[str], list[str]]:
    """Names under the two headings: what was required, what is only claimed."""
    _, required, rest = re.split(r"^Required.*:$|^Only claimed.*:$", output, flags=re.MULTILINE)
    return tuple([line[2:18].strip() for line in part.splitlines() if line.startswith("  ")] for part in (required, rest))


def test_it_says_what_was_required_and_what_is_only_claimed(files):
    _, output, _ = quiet("verify", *files.proofs, "--circuit", files.circuit)
    required, claimed = told(output.partition("Proven of these")[0])
    assert (required, claimed) == (ALWAYS, [*PINNED.values()])
    assert all(f"  {option}\n" in output for option in PINNED)
    _, output, _ = quiet("verify", *files.proofs, "--circuit", files.circuit, "--seed", str(SEED), "--final", files.pins["--final"])
    required, claimed = told(output.partition("Proven of these")[0])
    assert required == [*ALWAYS, "schedule", "final weights"] and claimed == ["dataset", "steps", "initial weights"]


@pytest.mark.parametrize("how", ["pins", "statement"])
def test_all_pins_right(files, how):
    options = [word for pin in files.pins.items() for word in pin] if how == "pins" else ["--statement", files.published]
    status, output, _ = verify(files, None, *options)
    assert status == VALID and told(output.partition("Proven of these")[0]) == ([*ALWAYS, *PINNED.values()], ["nothing"])


def test_json(files):
    status, output, _ = verify(files, None, "--json")
    result = json.loads(output)
    assert status == VALID and result["valid"] is True and result["bits"] >= 100 and result["seconds"] > 0
    assert result["statements"] == [files.first.to_json(), files.last.to_json()] and result["updated"] is True
    assert (
        result["required"] == ALWAYS
        and result["only_claimed"] == [*PINNED.values()]
        and result["assumed_bound"] is result["assumed_state"] is False
    )


def test_a_run_in_which_nothing_is_updated_says_so(files, tmp_path, monkeypatch):
    """A frozen net is a valid statement, and hardly the one that an auditor expects."""
    circuit = zkjax.Circuit.load(files.circuit)
    as_if_proven = [files.first], [files.security]
    monkeypatch.setattr("zkjax.commands.verifying.verify_chain", lambda *_, **__: as_if_proven)
    for name, changes in (("frozen", {"updates": ()}), ("rate 0", None)):
        parameters = [replace(p, **changes or {"updates": tuple(replace(u, rates=(0,)) for u in p.updates)}) for p in circuit.parameters]
        path = str(tmp_path / f"{name}.json")
        replace(circuit, parameters=tuple(parameters)).save(path)
        status, output, _ = quiet("verify", files.proofs[0], "--circuit", path)
        assert status == VALID and output.splitlines()[1].strip().startswith("NO PARAMETER IS UPDATED")
        assert json.loads(quiet("verify", files.proofs[0], "--circuit", path, "--json")[1])["updated"] is False
        status, output, _ = quiet("inspect", path)
        assert status == VALID and "4 tensors; NO PARAMETER IS UPDATED." in " ".join(output.split())
    assert "NO PARAMETER" not in quiet("inspect", files.circuit)[1]


def test_one_proof_alone(files):
    status, output, _ = verify(files, files.proofs[:1], "--steps", "0:2")
    assert status == VALID and output.startswith("VALID: 1 proof, ")


def test_a_later_proof_alone_rests_on_an_assumption(files):
    status, output, errors = verify(files, files.proofs[1:])
    assert (status, output) == (INVALID, "") and "initial bound" in errors and "--assume-bound" in errors
    status, output, _ = verify(files, files.proofs[1:], "--assume-bound", "--steps", "2:4")
    assert status == VALID and "ASSUMED" in output


# ---- invalid proofs -------------------------------------------------------------------------------------------

WRONG = {"--dataset": "00" * 32, "--initial": "11" * 32, "--final": "22" * 32, "--seed": "6", "--steps": "0:5"}
NAMES = {"--dataset": "pinned dataset", "--initial": "pinned initial weights", "--final": "pinned final weights"}
NAMES |= {"--seed": "pinned seed", "--steps": "pinned steps"}


@pytest.mark.parametrize("pin", WRONG)
def test_a_wrong_pin(files, pin):
    pins = files.pins | {pin: WRONG[pin]}
    status, output, errors = verify(files, None, *(word for item in pins.items() for word in item))
    assert (status, output) == (INVALID, "") and f"check {NAMES[pin]}:" in errors


@pytest.mark.parametrize("order", [(0, 0), (0, 1, 1), (0, 1, 0)])
def test_a_proof_twice(files, order):
    status, output, errors = quiet("verify", *(files.proofs[i] for i in order), "--circuit", files.circuit)
    assert (status, output) == (INVALID, "") and "check chain:" in errors and "each once" in errors


def test_proofs_are_taken_in_the_order_of_their_steps(files, tmp_path):
    """Named one by one, by a pattern, or by their directory, whatever else is in it."""
    shutil.copy(files.proofs[0], tmp_path / "10.proof")
    shutil.copy(files.proofs[1], tmp_path / "9 without the suffix")
    (tmp_path / "notes.txt").write_text("not a proof")
    (tmp_path / "private").mkdir()
    wanted = quiet("verify", *files.proofs, "--circuit", files.circuit, "--json")[1]
    backwards = [files.proofs[1], files.proofs[0]]
    for words in (backwards, [str(tmp_path)], [str(tmp_path / "[19]*")], [str(tmp_path / "10.proof"), str(tmp_path / "9*")]):
        status, output, _ = quiet("verify", *words, "--circuit", files.circuit, "--steps", "0:4", "--json")
        assert status == VALID and json.loads(output)["statements"] == json.loads(wanted)["statements"]
    (tmp_path / "11.proof").write_bytes(b"")  # it is named like a proof: silence would hide that a chain goes on
    status, output, errors = quiet("verify", str(tmp_path), "--circuit", files.circuit, "--json")
    assert status == INVALID and "11.proof: malformed: the file is empty" in errors
    assert json.loads(output)["proof"] == str(tmp_path / "11.proof")
    status, _, errors = quiet("verify", str(tmp_path / "private"), "--circuit", files.circuit)
    assert status == MISUSE and "no proof file" in errors


@pytest.mark.parametrize("name", ["dataset", "final_weights", "seed", "sentence", "losses", "proofs", "malformed"])
def test_a_published_statement_that_is_not_of_these_proofs(files, tmp_path, name):
    published = json.loads(Path(files.published).read_text())
    changed = {"dataset": "00" * 32, "final_weights": published["initial_weights"], "seed": 6}
    published[name if name in changed else "seed"] = changed.get(name, SEED)
    if name == "sentence":
        published["proofs"][1]["sentence"] += " With Adam."
    if name == "losses":
        published["proofs"][1]["statement"]["losses"][0][1] += 1
    if name == "proofs":
        published["proofs"].pop()
    (tmp_path / "statement.json").write_text("{" if name == "malformed" else json.dumps(published))
    status, output, errors = quiet("verify", *files.proofs, "--circuit", files.circuit, "--statement", str(tmp_path / "statement.json"))
    assert (status, output) == (INVALID, "")
    if name == "malformed":
        assert "statement.json: not a JSON file" in errors
    else:
        assert f"check published {name}: " in errors and (name not in ("sentence", "losses") or files.proofs[1] in errors)


def test_failures_as_json(files):
    for options, status, check, proof in (
        (["--seed", "6"], INVALID, "pinned seed", None),
        (["--minimum-bits", "120"], INVALID, "security", files.proofs[0]),
        (["--minimum-bits", "0"], MISUSE, "misuse", None),
        (["--seed", "five"], MISUSE, "misuse", None),
        (["--circuit", "nowhere.json"], MISUSE, "misuse", None),
    ):
        found, output, errors = quiet("verify", *files.proofs, "--circuit", files.circuit, "--json", *options)
        result = json.loads(output)
        assert (found, result["valid"], result["check"], result["proof"]) == (status, False, check, proof)
        assert result["detail"] and result["detail"] in errors


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
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--steps", "-1:4"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--seed", "-1"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--seed", str(2**64)],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--final", "abc"],
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--statement", "nowhere.json"],
        *(["verify", "PROOF", "--circuit", "CIRCUIT", "--minimum-bits", bits] for bits in ("0", "0.5", "-3", "nan", "inf", "many")),
        ["verify", "PROOF", "--circuit", "CIRCUIT", "--minimum", "100"],
        ["inspect"],
        ["inspect", "nowhere.proof"],
    ],
    ids=" ".join,
)
def test_misuse(files, arguments):
    names = {"PROOF": files.proofs[0], "CIRCUIT": files.circuit}
    status, output, errors = quiet(*(names.get(word, word) for word in arguments))
    assert (status, output) == (MISUSE, "") and errors.splitlines()[-1].startswith("error: ")
    if "--steps" in arguments:
        assert "FIRST:END" in errors


def test_a_crash_is_no_verdict(files, monkeypatch):
    """Exit status 1 is that of a false proof, and nothing else."""

    def broken(*_, **__):
        raise IndexError("\x1b[2Jlist index")

    monkeypatch.setattr("zkjax.commands.verifying.verify_chain", broken)
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        assert main(["verify", files.proofs[0], "--circuit", files.circuit, "--json"]) == MISUSE
    assert json.loads(output.getvalue())["valid"] is False and "\x1b" not in errors.getvalue()
    assert errors.getvalue().splitlines()[-1].startswith("error: no verdict")


def test_version():
    status, output, _ = command("--version")
    assert status == VALID and output == f"zkjax {zkjax.__version__}, proof format 2, circuit format 2\n"


# ---- what terminals are shown ---------------------------------------------------------------------------------

HIDDEN = "\x1b[2J\r\n\x85\u2028\u202e\u2066\u200b\ufeff\u3164\ud800"
NAMED = HIDDEN.replace("\ud800", "\udc80")  # as files may be named
NOTHING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\xa0\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff\ud800-\udfff]")


def test_names_of_files_are_escaped(files, tmp_path):
    """Wherever a name of a file is repeated: as a proof, circuit or statement that is there, is none, or is malformed."""
    there, wrong, nowhere = (str(tmp_path / f"{name}{NAMED}VALID: 1 proof") for name in "abc")
    shutil.copy(files.proofs[0], there)
    Path(wrong).write_text("{")
    for arguments in (
        ["verify", there, "--circuit", files.circuit, "--ledger"],
        ["verify", nowhere, "--circuit", files.circuit],
        ["verify", wrong, "--circuit", files.circuit],
        ["verify", there, "--circuit", wrong],
        ["verify", there, "--circuit", nowhere],
        ["verify", there, "--circuit", files.circuit, "--statement", wrong],
        ["verify", there, "--circuit", files.circuit, "--dataset", HIDDEN],
        ["verify", there, "--circuit", files.circuit, "--steps", HIDDEN],
        ["verify", there, "--circuit", files.circuit, HIDDEN],
        ["verify", there, "--circuit", files.circuit, f"--{HIDDEN}"],
        [HIDDEN],
        ["inspect", wrong],
        ["inspect", nowhere],
    ):
        _, output, errors = quiet(*arguments)
        assert not NOTHING.search(output + errors), arguments
        shown = [line for line in (output + errors).splitlines() if line.startswith("VALID")]
        assert len(shown) == (arguments[-1] == "--ledger")
        assert "\\u202e" in output + errors or "--dataset" in arguments  # whose error names the option alone


def test_texts_of_a_circuit_are_escaped(files, tmp_path):
    data = json.loads(Path(files.circuit).read_text())
    for name, refused in (("\x1b[2J", True), ("\u202e", True), ("\u3164\ufe0f\u2800", False)):
        data["notes"], data["parameters"][0]["path"], data["nodes"][0]["label"], data["inputs"][0]["name"] = [name], name, name, name
        (tmp_path / "circuit.json").write_text(json.dumps(data))
        status, output, errors = quiet("inspect", str(tmp_path / "circuit.json"))
        assert status == (INVALID if refused else VALID) and not NOTHING.search(output + errors)
        assert refused or output.count("\\u3164\\ufe0f\\u2800") == 7  # the path names a layer too; sentences name both


def test_a_terminal_that_has_ascii_only(files, tmp_path):
    """The status is that of the verdict, not of an encoding that lacks a letter."""
    data = json.loads(Path(files.circuit).read_text())
    data["notes"], data["parameters"][0]["path"] = ["größer als 世界 \U0001f600"], "gewichte/größe"
    (tmp_path / "größe.json").write_text(json.dumps(data), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    environment |= {"PYTHONPATH": str(PACKAGE.parent)}
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for extra in (ascii_only, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1253:strict"}):
        for command, status in ((["inspect", "größe.json"], VALID), (["verify", "größe.json", "--circuit", files.circuit], INVALID)):
            done = subprocess.run([sys.executable, "-m", "zkjax", *command], env=environment | extra, cwd=tmp_path, capture_output=True)
            assert done.returncode == status, done.stderr
            assert (done.stdout + done.stderr).decode("ascii").count("gr\\")


def test_what_cannot_be_written_is_no_verdict(files):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "zkjax", "inspect", files.circuit]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == MISUSE and done.stderr.startswith("error: the result could not be written")


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
    assert status == VALID and output.splitlines()[0] == f"digest {files.first.circuit.hex()}"
    assert 'A batch of 3 has "x" of 5, "y" of 3. The net is 5 -> 4 -> ReLU -> 3, the loss the squared error against "y".' in output
    assert output.count("minus 0.125 times the gradient of the loss") == 4  # as the optimizer has it, whatever the scales


def test_notes_stand_apart(files, tmp_path):
    """Outside the digest, so that anyone can have written them: after all that is inside, under a heading that says so."""
    data = json.loads(Path(files.circuit).read_text())
    data["notes"] = ["digest 00", "Adam, dropout, differentially private"]
    (tmp_path / "circuit.json").write_text(json.dumps(data))
    _, output, _ = quiet("inspect", str(tmp_path / "circuit.json"))
    _, genuine, _ = quiet("inspect", files.circuit)
    facts, notes = output.split("   notes, which are outside the digest: anyone can have written them\n")
    assert genuine.startswith(facts) and notes.splitlines() == ["1  digest 00", "2  Adam, dropout, differentially private"]


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
        return subprocess.run([root / "bin" / "python", "-I", *arguments], capture_output=True, text=True, cwd=root)

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
    done = numpy_alone("-m", "zkjax", "diff", files.circuit, str(files.directory / "other.json"))
    assert (done.returncode, done.stderr) == (INVALID, "") and "the gradient of the loss times -0.125 in A, -0.25 in B" in done.stdout
    done = numpy_alone("-m", "zkjax", "trace", "train.py", "--expect", "00" * 32)
    assert (done.returncode, done.stdout) == (MISUSE, "") and "error: tracing needs jax; install zkjax with its dependencies" in done.stderr


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
        assert process.wait() == 2
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
