"""The shape of the package, read from its source: who may import whom, what a verifier loads, names and docstrings."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import zkjax

ROOT = Path(zkjax.__file__).parent
REPOSITORY = ROOT.parent
JAX = ("jax", "jaxlib", "flax", "optax")
# besides kernels.*: the only ones that import JAX when they are imported
JAX_MODULES = {
    f"tracing.{name}" for name in ("arguments", "search", "interpreter", "starts", "step", "own", "source", "program", "comparison")
}
JAX_MODULES |= {"training.template", "training.steps", "training.run", "training.train", "calibration", "prover.aggregate"}
JAX_MODULES |= {"planning.measure", "tracing.recipe", "training.draw", "training.evaluate"}
JAX_MODULES |= {"training.compare"}
# imported by prover functions and by the user only, never by the verifier
KERNEL_USERS = {"prover.witness", "prover.forms", "prover.folds", "training.states", "training.steps", "training.template", "prover.lanes"}

# From the ground up, room by room: a module imports only from those before it, inside functions too. A new module gets a place here.
ORDER = """
display diagram
errors
files
progress
arrays
work
algebra algebra.field algebra.extension algebra.poly algebra.vectors algebra.ntt algebra.exact algebra.hashing algebra.layout
algebra.low_rank algebra.threefry algebra.normal algebra.decimals algebra.functions
kernels kernels.settings kernels.threads kernels.jit kernels.memory kernels.products kernels.tiles kernels.host kernels.eq
kernels.sumcheck kernels.lookup kernels.sites kernels.ntt kernels.merkle kernels.opening kernels.integers kernels.forms
ops.operation ops.tables ops.ranges ops.forms ops.committed ops.leaves ops.window ops.moves ops.arithmetic ops.functions ops.rescale
ops.products ops.draw
ops.maximum ops.division ops.root ops.paced ops
memory
circuit.parts circuit.data circuit.recurrence circuit.levels circuit.anchors circuit.wellformed circuit.bounds circuit.ranged
circuit.counts circuit.coarse circuit.rounding circuit.summary circuit.layers circuit.shares circuit.descent circuit.units
circuit.changes circuit.words circuit.sheet circuit.outline circuit.file circuit.lines circuit.circuit circuit.difference circuit
protocol protocol.transcript protocol.links protocol.disclosure protocol.hidden protocol.sumcheck protocol.lookup protocol.claims
protocol.schedule
protocol.membership protocol.draws protocol.forms protocol.contraction protocol.gate protocol.motion protocol.states protocol.plan
protocol.argument
commitment.slots commitment.openings commitment.geometry commitment.merkle commitment.dataset commitment.commit commitment.recursion
commitment.rows commitment.opening commitment.recompute commitment.keys commitment
proofs proofs.soundness proofs.links proofs.statement proofs.alone proofs.chain proofs.checks proofs.estimate proofs.header proofs.proof
proofs.published proofs.disclosure proofs.model proofs.drawing proofs.disclosed
verifier evaluation comparison lineage
auditing auditing.data auditing.attestation auditing.folder auditing.source auditing.beside auditing.conclusion auditing.report
tracing tracing.precision tracing.digits tracing.special tracing.elementary tracing.series tracing.constants tracing.expressions
tracing.rationals tracing.intervals tracing.functions tracing.keys tracing.shares tracing.variances tracing.graph tracing.scatters
tracing.folding tracing.places
tracing.arguments tracing.quotients tracing.ignored tracing.choices tracing.masked tracing.maxima tracing.rows tracing.indexing
tracing.groups tracing.entrywise tracing.windows tracing.matrices tracing.reductions tracing.updates tracing.rules tracing.search
tracing.interpreter
tracing.step tracing.starts tracing.motions tracing.demands tracing.names
tracing.formats tracing.own tracing.source tracing.states tracing.planned tracing.builder tracing.relations
tracing.emission tracing.lowering tracing.comparison tracing.fitting tracing.finer tracing.program tracing.recipe
prover.aggregate prover.lanes prover.folds prover.states prover.forms prover.witness prover.rehearsal prover.commitments prover.prove
prover.link prover.disclose prover.hand_over prover
training training.records training.standing training.dataset training.template training.draw training.saved training.states training.steps
training.run training.renewal training.train training.folder training.order training.proving
training.evaluate training.compare
calibration
planning planning.machine planning.estimate planning.measure
publishing
commands commands.terminal commands.disclosing commands.verifying commands.checking commands.evaluating commands.weighing
commands.inspecting
commands.comparing commands.retracing commands.watching commands.measuring
__main__
""".split()


@cache
def sources() -> dict[str, Path]:
    """Module name, without the package's, to its file; the package itself is ''."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


@cache
def imports(module: str) -> tuple[tuple[str, bool], ...]:
    """Absolute names that a module imports ("from x import y" gives x.y), and whether inside a function."""
    path = sources()[module]
    package = ("zkjax", *path.relative_to(ROOT).parts[:-1])
    found = []

    def visit(node, inside: bool):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package[: len(package) - child.level + 1]) if child.level else ""
                source = ".".join(part for part in (base, child.module) if part)
                found.extend((f"{source}.{alias.name}", inside) for alias in child.names)
            else:
                visit(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return tuple(found)


def internal(name: str) -> str | None:
    """The module of this package that an absolute name lies in; None for other packages."""
    if name.split(".")[0] != "zkjax":
        return None
    name = name.partition(".")[2]
    while name not in sources():
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_a_place():
    assert sorted(ORDER) == sorted(set(sources()) - {""})


def test_imports_point_to_lower_layers():
    """No cycles: each import of the package's own modules names one that comes before; the package itself imports nothing."""
    at = {name: i for i, name in enumerate(ORDER)}
    upward = []
    for module in at:
        for name, _ in imports(module):
            below = internal(name)
            if below and at.get(below, len(at)) >= at[module]:
                upward.append(f"{module} imports {name}")
    assert upward == []


def test_rooms_stand_one_above_another():
    """A folder's modules stand together, so no two rooms import each other; and no folder hides a public function of its name."""
    rooms = [name.partition(".")[0] for name in ORDER]
    assert [room for i, room in enumerate(rooms) if i == 0 or rooms[i - 1] != room] == list(dict.fromkeys(rooms))
    assert not {room for room in rooms if (ROOT / room).is_dir()} & set(zkjax.__all__)


def test_nobody_compares_operations_by_name():
    """What is known of an operation stands in its home."""
    found = []
    for module, path in sources().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            sides = (node.left, *node.comparators) if isinstance(node, ast.Compare) else ()
            if any(isinstance(x, ast.Attribute) and x.attr == "op" for x in sides):
                found.append(module)
    assert found == []


def test_modules_are_short():
    """One concept each: about 400 lines at most."""
    assert not [name for name, path in sources().items() if len(path.read_text(encoding="utf-8").splitlines()) > 400]


def test_the_package_imports_nothing():
    """``import zkjax`` loads its parts when they are asked for."""
    assert [name for name, _ in imports("") if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_only_named_modules_import_jax():
    """Elsewhere JAX and the kernels are imported inside the functions of the prover."""
    found = []
    for module in ORDER:
        free = module.startswith("kernels") or module in JAX_MODULES
        for name, inside in imports(module):
            kernel = (internal(name) or "").startswith("kernels")
            if not inside and not free and (name.split(".")[0] in JAX or (kernel and module not in KERNEL_USERS)):
                found.append(f"{module} imports {name} when it is imported")
    assert found == []


@pytest.mark.parametrize("module", ["zkjax.verifier", "zkjax.__main__"])
def test_a_verifier_loads_no_jax(module):
    code = f"import sys, {module}; print([name for name in {(*JAX, 'zkjax.prover.witness', 'zkjax.kernels')!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_verifier_needs_numpy_only():
    """Everything that importing the verifier loads is this package, NumPy or the standard library."""
    seen, stack, outside = set(), ["verifier", "__main__", *(name for name in sources() if name.startswith("commands."))], set()
    while stack:
        module = stack.pop()
        if module in seen:
            continue
        seen.add(module)
        for name, inside in imports(module):
            if inside:
                continue
            below = internal(name)
            if below is None:
                outside.add(name.split(".")[0])
            else:
                stack.append(below)
    assert outside - set(sys.stdlib_module_names) == {"numpy"}
    assert not seen & {*JAX_MODULES, *KERNEL_USERS, "prover"}


def test_the_protocol_names_its_modules_and_they_name_it():
    """Sections of PROTOCOL.md with their line of code, and modules with the sections that their docstrings name: the same pairs."""
    told, sections = set(), set()
    section = ""
    for line in (ROOT / "PROTOCOL.md").read_text(encoding="utf-8").splitlines():
        heading = re.match(r"##+ (\d+(\.\d+)?)\.? ", line)
        section = heading[1] if heading else section
        sections |= {section} if heading else set()
        if line.startswith("Code: "):
            told |= {(section, name) for name in re.findall(r"`([\w/]+)\.py`", line)}
    said = set()
    for module, path in sources().items():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for numbers in re.findall(r"^PROTOCOL\.md, sections? ([\d., ]+)\.$", docstring, flags=re.MULTILINE):
            said |= {(number, module.replace(".", "/")) for number in numbers.split(", ")}
    assert told == said and {number for number, _ in told} <= sections
    with_code = {number.partition(".")[0] for number, _ in told}
    assert {number.partition(".")[0] for number in sections} - with_code == {"21", "22", "23"}  # limits, vectors, and files of them


def test_no_module_is_named_like_one_of_the_standard_library():
    names = {path.stem for path in sources().values()} | {path.parent.name for path in sources().values()}
    assert not {name for name in names if not name.startswith("__")} & set(sys.stdlib_module_names)


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
    folders = [REPOSITORY / folder for folder in ("zkjax", "tests", "experiments", "notebooks")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md", ".ipynb")]
    assert len(files) > len(ORDER)
    assert [str(path) for path in files if marks.search(path.read_text(encoding="utf-8"))] == []


def test_public_names_have_docstrings():
    missing = []
    for module, path in sources().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if tree.body and not ast.get_docstring(tree):
            missing.append(module)
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            overload = any(isinstance(x, ast.Name) and x.id == "overload" for x in node.decorator_list)
            if not overload and not ast.get_docstring(node):
                missing.append(f"{module}.{node.name}")
    assert missing == []
