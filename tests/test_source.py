"""Which source code a circuit is of: traced again from shapes, compared in words, line by line."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from test_command_line import quiet

import zkjax
from zkjax.__main__ import main
from zkjax.circuit import lines
from zkjax.circuit.difference import differences
from zkjax.errors import ConfigurationError, FormatError

SAME, DIFFERENT, MISUSE = 0, 1, 2
SOURCE = """
import jax, jax.numpy as jnp, numpy as np, optax
import zkjax

RATE, WIDTH, BATCH = 1 / 8, 4, 3


def optimizer():
    return optax.sgd(RATE)


def loss(params, x, y):
    first, last = params
    hidden = jax.nn.relu(x @ first["kernel"] + first["bias"])
    hidden = jax.nn.relu(hidden - 1 / 4)
    return 0.5 * jnp.mean(jnp.sum((hidden @ last["kernel"] + last["bias"] - y) ** 2, axis=-1))


def dense(a, b):
    return {"kernel": jax.ShapeDtypeStruct((a, b), np.float32), "bias": jax.ShapeDtypeStruct((b,), np.float32)}


def recipe():
    batch = jax.ShapeDtypeStruct((BATCH, 5), np.float32), jax.ShapeDtypeStruct((BATCH, 3), np.float32)
    return zkjax.Recipe(loss=loss, optimizer=optimizer(), params=[dense(5, WIDTH), dense(WIDTH, 3)], batch=batch, steps=12)


if __name__ == "__main__":
    raise SystemExit("training")
"""
STEP = """
import jax, jax.numpy as jnp, numpy as np, optax
import zkjax

OPTIMIZER = optax.sgd(1 / 8, momentum=0.5)


def step(state, x, y):
    params, kept, count = state
    value, gradient = jax.value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(params)
    update, kept = OPTIMIZER.update(gradient, kept, params)
    return (optax.apply_updates(params, update), kept, count + 1), {"loss": value}


def with_arrays():
    params = jnp.asarray(np.linspace(-1, 1, 6, dtype=np.float32))
    batch = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6), np.ones(2, np.float32)
    return zkjax.Recipe(train_step=step, state=(params, OPTIMIZER.init(params), 0), batch=batch, outputs=("loss",), chunk=4)
"""
CHANGES = {
    "rate": ("RATE, WIDTH, BATCH = 1 / 8", "RATE, WIDTH, BATCH = 1 / 4"),
    "width": ("1 / 8, 4, 3", "1 / 8, 6, 3"),
    "batch": ("1 / 8, 4, 3", "1 / 8, 4, 2"),
    "activation": ('jax.nn.relu(x @ first["kernel"]', 'jnp.tanh(x @ first["kernel"]'),
    "momentum": ("optax.sgd(RATE)", "optax.sgd(RATE, momentum=0.9)"),
    "more momentum": ("optax.sgd(RATE)", "optax.sgd(RATE, momentum=0.95)"),
    "schedule": ("optax.sgd(RATE)", "optax.sgd(optax.linear_schedule(RATE, RATE / 2, 8))"),
    "later schedule": ("optax.sgd(RATE)", "optax.sgd(optax.linear_schedule(RATE, RATE / 2, 8, 4))"),
    "loss": ("0.5 * jnp.mean", "0.25 * jnp.mean"),
}


def execute(source: str):
    """What a source defines."""
    found = {"__name__": "source"}
    exec(compile(source, "train.py", "exec"), found)
    return found


def changed(name: str) -> str:
    before, after = CHANGES[name]
    assert SOURCE.count(before) == 1
    return SOURCE.replace(before, after)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a trainer, whose formats come from arrays: train.py, precision.json, circuit.json, source.json; and his circuit."""
    folder = tmp_path_factory.mktemp("trainer")
    (folder / "train.py").write_text(SOURCE)
    rng, recipe = np.random.default_rng(0), execute(SOURCE)["recipe"]()
    params, batch = jax.tree.map(lambda x: rng.uniform(-2, 2, x.shape).astype(np.float32), (recipe.params, recipe.batch))
    circuit = zkjax.trace(recipe.loss, recipe.optimizer, params, batch=batch, steps=recipe.steps)
    circuit.save(folder / "circuit.json")
    circuit.save_source(folder / "source.json")
    circuit.precision.save(folder / "precision.json")
    return folder, circuit


@pytest.fixture(scope="module")
def variants():
    """The circuit of each change of the source, in formats that follow from shapes alone."""
    return {None: execute(SOURCE)["recipe"]().trace(), **{name: execute(changed(name))["recipe"]().trace() for name in CHANGES}}


def trace(folder: Path, *options: str, source: str = "train.py"):
    return quiet("trace", str(folder / source), *options)


# ---- tracing again ----------------------------------------------------------------------------------------------------
def test_the_source_of_a_circuit_is_recognised(trained, tmp_path):
    folder, circuit = trained
    formats = ("--precision", str(folder / "precision.json"))
    digest = circuit.digest().hex()
    for options in (("--expect", digest), ("--expect", digest.upper()), ("--circuit", str(folder / "circuit.json")), ()):
        status, output, errors = trace(folder, *formats, *options, source="train.py:recipe")
        assert (status, errors) == (SAME, "") and output.splitlines()[0] == f"digest {digest}"
        assert ("SAME" in output) == bool(options)
    files = ("--out", str(tmp_path / "own.json"), "--source", str(tmp_path / "lines.json"))
    assert trace(folder, *formats, *files)[0] == SAME
    own = zkjax.Circuit.load(tmp_path / "own.json")
    assert own.digest() == circuit.digest() and json.loads((tmp_path / "lines.json").read_text())["circuit"] == digest


def test_another_rate_is_refused_and_named(trained, tmp_path):
    folder, circuit = trained
    (tmp_path / "train.py").write_text(changed("rate"))
    formats = ("--precision", str(folder / "precision.json"))
    status, output, errors = trace(tmp_path, *formats, "--expect", circuit.digest().hex())
    assert (status, errors) == (DIFFERENT, "") and f"DIFFERENT: expected is {circuit.digest().hex()}\n" in output
    status, output, _ = trace(tmp_path, *formats, "--circuit", str(folder / "circuit.json"))
    assert status == DIFFERENT and "by the gradient of the loss times -0.25 in A, -0.125 in B." in output
    status, output, _ = trace(folder, "--expect", circuit.digest().hex())  # the right source in other formats
    assert status == DIFFERENT and "without --precision" in output


def test_a_step_of_ones_own_is_traced_from_its_shapes(tmp_path):
    recipe = execute(STEP)["with_arrays"]()
    circuit = recipe.trace()
    assert recipe.trace(circuit.precision).digest() == circuit.digest() and recipe.trace(circuit.precision).comparison is None
    (tmp_path / "step.py").write_text(STEP)
    circuit.precision.save(tmp_path / "precision.json")
    options = ("--precision", str(tmp_path / "precision.json"), "--expect", circuit.digest().hex())
    assert trace(tmp_path, *options, source="step.py:with_arrays")[0] == SAME


def test_files_beside_the_source_are_found_and_left_alone(trained, tmp_path):
    folder, _ = trained
    (tmp_path / "beside_it.py").write_text(SOURCE)
    (tmp_path / "train.py").write_text("from beside_it import recipe\n")
    before = [*sys.path]
    assert trace(tmp_path)[1] == trace(folder)[1]
    assert sys.path == before and "traced_source" not in sys.modules
    del sys.modules["beside_it"]


BAD = {
    "no file": (None, "train.py", (), "no file of Python"),
    "no Python": (SOURCE, "train.txt:recipe", (), "no file of Python"),
    "no name": (SOURCE, "train.py:", (), "no function"),
    "no function": (SOURCE, "train.py:recept", (), r"has no function recept; it has optimizer, loss, dense, recipe"),
    "syntax": ("def recipe(:\n", "train.py", (), "executing the file ended with SyntaxError"),
    "missing import": ("import no_such_module_at_all\n", "train.py", (), r"ModuleNotFoundError: No module named .* at .*train\.py:1"),
    "trains at once": ("raise SystemExit('trained')\n", "train.py", (), "executing the file ended with SystemExit: trained"),
    "raises": ("def recipe():\n    return {}['batch']\n", "train.py", (), r"recipe\(\) ended with KeyError: 'batch' at .*train\.py:2"),
    "needs arguments": ("def recipe(steps):\n    pass\n", "train.py", (), r"recipe\(\) ended with TypeError"),
    "another type": ("def recipe():\n    return {'loss': 1}\n", "train.py", (), r"returned a dict; let it return a zkjax.Recipe"),
    "half a recipe": (
        SOURCE.replace("optimizer=optimizer(), ", ""),
        "train.py",
        (),
        "ConfigurationError: a recipe has",
    ),
    "loss that raises": (
        SOURCE.replace("first, last = params", "raise ValueError('no')"),
        "train.py",
        (),
        "ValueError: no at",
    ),
    "unsupported": (SOURCE.replace("hidden - 1 / 4", "jnp.fft.fft(hidden).real"), "train.py", (), "complex64"),
    "digest": (SOURCE, "train.py", ("--expect", "abc"), "64 hexadecimal digits"),
    "two wishes": (SOURCE, "train.py", ("--expect", "ab" * 32, "--circuit", "circuit.json"), "not allowed with"),
    "no circuit": (SOURCE, "train.py", ("--circuit", "nowhere.json"), "nowhere.json"),
    "no precision": (SOURCE, "train.py", ("--precision", "nowhere.json"), "nowhere.json"),
    "malformed precision": (SOURCE, "train.py", ("--precision", "train.py"), "not a precision file"),
    "another's precision": (SOURCE, "train.py", ("--precision", "other.json"), r"in the formats of other\.json: .*input"),
}


@pytest.mark.parametrize("name", BAD)
def test_misuse_is_explained(trained, tmp_path, monkeypatch, name):
    source, words, options, message = BAD[name]
    if source is not None:
        (tmp_path / "train.py").write_text(source)
        (tmp_path / "train.txt").write_text(source)
    other = json.loads((trained[0] / "precision.json").read_text())
    other["tensors"]["input"] = {"scale": 8, "bits": 11}
    (tmp_path / "other.json").write_text(json.dumps(other))
    monkeypatch.chdir(tmp_path)
    status, output, errors = quiet("trace", words, *options)
    assert (status, output) == (MISUSE, "") and errors.splitlines()[-1].startswith("error: ") and re.search(message, errors), errors


def test_a_recipe_is_one_of_two_kinds():
    whole = execute(SOURCE)["recipe"]()
    step = execute(STEP)["with_arrays"]()
    for wrong in (
        {"loss": whole.loss},
        {"train_step": step.train_step},
        {"train_step": step.train_step, "state": step.state, "loss": whole.loss},
        {"loss": whole.loss, "optimizer": whole.optimizer, "params": whole.params, "outputs": ("loss",)},
        {"train_step": step.train_step, "state": step.state, "has_aux": True},
    ):
        with pytest.raises(ConfigurationError):
            zkjax.Recipe(**wrong)


def test_help_says_that_the_source_is_executed(capsys):
    with pytest.raises(SystemExit):
        main(["trace", "--help"])
    assert "FILE.py is executed" in " ".join(capsys.readouterr().out.split())


# ---- what differs -------------------------------------------------------------------------------------------------------
WORDS = {
    "rate": ['Each step changes "0/bias", "0/kernel", "1/bias", "1/kernel": by the gradient of the loss times -0.125 in A, -0.25 in B.'],
    "width": ['Shape of "0/kernel": 5x4 in A, 5x6 in B.', "The net is 5 -> 6 -> ReLU", "3 of 4 parameters"],
    "batch": ["A batch has 3 samples in A, 2 in B."],
    "activation": ['In the forward pass of layer "0": 2 ceiling, 2 gate, 2 sign in A, where B has 1 function of tanh and max, 1 rescale.'],
    "momentum": ['Only B has the tensor "optimizer/0/trace/0/bias"', '-0.125 times "optimizer/0/trace/*" after the step', "after 12 in B"],
    "schedule": ["by the gradient of the loss times -0.125 in A", "steps differ, first step 1: -0.125 in A, -0.1172 in B"],
    "loss": ['Output "loss": sums with factors 0.1667 in A, 0.08333 in B.'],
}


@pytest.mark.parametrize("name", WORDS)
def test_what_differs_is_named(variants, name):
    told = "\n".join(differences(variants[None], variants[name]))
    for words in WORDS[name]:
        assert words in told, told
    assert told.splitlines()[-1].startswith("Of the circuits' files differ, entry by entry: ")
    assert len(differences(variants[name], variants[None])) == len(told.splitlines())


def test_coefficients_and_steps_that_differ_are_named(variants):
    told = differences(variants["momentum"], variants["more momentum"])
    assert any(x.startswith('Each step changes "optimizer/0/trace/') and "by itself times 0.9 in A, 0.95 in B." in x for x in told)
    (told,) = (x for x in differences(variants["schedule"], variants["later schedule"]) if x.startswith("Each step"))
    assert "11 of 12 steps differ, first step 1: -0.1172 in A, -0.125 in B" in told


def test_formats_alone_are_told_apart_from_what_is_computed():
    a, b = (execute(SOURCE)["recipe"]().trace(zkjax.Precision(activation_scale=x, table_bits=14)) for x in (7, 8))
    told = differences(a, b)
    assert [x.split(" differ")[0].split(":")[0] for x in told] == [
        'Format of the data "x", "y"',
        "Formats of 2 rounded tensors",
        "Units of 2 parameters",
        "Of the circuits' files",
    ]
    assert '"0/kernel forward" 2^-7 up to 2^3 in A, 2^-8 up to 2^3 in B' in told[1]


def test_what_no_sentence_explains_is_counted(variants):
    """Labels, the order of nodes, a constant: nothing that the digest covers goes without a word."""
    a = variants[None]
    (told,) = differences(a, replace(a, notes=("another",)))
    assert told == "Nothing differs: the circuits are the same. Their notes differ, which no digest covers."
    node = replace(a.nodes[-1], label="called otherwise")
    (told,) = differences(a, replace(a, nodes=(*a.nodes[:-1], node)))
    assert told == f"Of the circuits' files differ, entry by entry: 1 of {len(a.nodes)} nodes."


def test_starts_keys_and_outputs_that_differ_are_named(variants):
    a = variants["momentum"]
    p = next(p for p, x in enumerate(a.parameters) if x.path == "optimizer/0/trace/0/bias")
    begun = replace(a.parameters[p], given=replace(a.parameters[p].given, integer=5))
    told = differences(a, replace(a, parameters=(*a.parameters[:p], begun, *a.parameters[p + 1 :])))
    assert 'A chain begins with another "optimizer/0/trace/0/bias": 0 in A, 5 in B.' in told
    renamed = replace(a, losses=tuple(replace(x, output="cost") for x in a.losses))
    assert {'Only A has the output "loss".', 'Only B has the output "cost".'} <= {*differences(a, renamed)}

    def dropped(p, x, key):
        return (jax.random.bernoulli(key, 0.5, x.shape) * x @ p).sum()

    shapes = jax.ShapeDtypeStruct((3,), np.float32), (jax.ShapeDtypeStruct((2, 3), np.float32),)
    keyed = [zkjax.trace(dropped, optax.sgd(1 / 4), shapes[0], batch=shapes[1], key=jax.random.key(k), steps=2, chunk=2) for k in (0, 1)]
    assert differences(*keyed)[0] == "Keys of what is drawn at random differ."


def test_the_command_compares_files(variants, tmp_path):
    for name in (None, "rate"):
        variants[name].save(tmp_path / f"{name}.json")
    a, b = (str(tmp_path / f"{name}.json") for name in (None, "rate"))
    assert quiet("diff", a, a)[0] == SAME
    status, output, errors = quiet("diff", a, b)
    assert (status, errors) == (DIFFERENT, "") and output.splitlines()[:2] == [
        f"A: {variants[None].digest().hex()}  {a}",
        f"B: {variants['rate'].digest().hex()}  {b}",
    ]
    (tmp_path / "bad.json").write_text("{")
    for words in ((a, str(tmp_path / "bad.json")), (a, str(tmp_path / "nowhere.json")), (a,)):
        assert quiet("diff", *words)[0] == MISUSE


# ---- line by line -------------------------------------------------------------------------------------------------------
def test_operations_have_the_lines_that_they_come_from(trained):
    folder, circuit = trained
    text = SOURCE.splitlines()
    told = {}
    for node, line in zip(circuit.nodes, circuit.source, strict=True):
        if match := re.fullmatch(r"train\.py:(\d+) \(loss\)", line):
            told.setdefault(text[int(match[1]) - 1].strip().partition(" ")[0], []).append(node.op)
        else:
            assert line == "" and node.op in ("param", "input")
    assert {*told} == {"hidden", "return"}
    lines_of = [{line for node, line in zip(circuit.nodes, circuit.source) if node.op == op} for op in ("sign", "gate")]
    assert all(len(found) == 2 for found in lines_of)  # each ReLU has its own, though JAX compiles one for both


def test_an_optimizer_of_a_library_has_no_line(variants):
    assert "(the optimizer's update)" in execute(SOURCE.replace("optax.sgd", "optax.adam"))["recipe"]().trace().source


def test_inspect_shows_lines_and_whose_word_they_are(trained):
    folder, circuit = trained
    status, output, errors = quiet("inspect", str(folder / "circuit.json"), "--source", str(folder / "source.json"))
    assert (status, errors) == (SAME, "") and "source.json says: no digest covers them" in output
    rows = output[output.index("called by its author", output.index("no digest covers them")) :].splitlines()[1:]
    assert [row.rpartition("  ")[2] for row in rows] == [line or "-" for line in circuit.source]
    assert quiet("inspect", str(folder / "circuit.json"))[1] in output


def test_lines_of_another_circuit_are_refused(trained, variants, tmp_path):
    folder, circuit = trained
    good = json.loads((folder / "source.json").read_text())
    assert lines.load(folder / "source.json", circuit) == circuit.source
    bad = ({**good, "circuit": "00" * 32}, {**good, "lines": good["lines"][1:]}, {**good, "lines": [1] * len(good["lines"])}, [], {})
    for content in (*bad, {**good, "version": 2}, {**good, "lines": None}):
        (tmp_path / "source.json").write_text(json.dumps(content))
        with pytest.raises(FormatError):
            lines.load(tmp_path / "source.json", circuit)
        status, output, _ = quiet("inspect", str(folder / "circuit.json"), "--source", str(tmp_path / "source.json"))
        assert (status, output) == (1, "")
    (tmp_path / "source.json").write_text("{")
    with pytest.raises(FormatError):
        lines.load(tmp_path / "source.json", circuit)
    with pytest.raises(ConfigurationError):
        zkjax.Circuit.load(folder / "circuit.json").save_source(tmp_path / "again.json")


def test_no_digest_covers_lines(trained):
    _, circuit = trained
    assert replace(circuit, source=()).digest() == circuit.digest() and replace(circuit, source=()) == circuit
