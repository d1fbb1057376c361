"""The list of mutants is of the source as it is: a check that is new, or reads otherwise, needs a run of ``mutation.py``."""

import ast
import os
import random
import subprocess
import sys
from pathlib import Path

from equivalent import EQUIVALENT
from mutants import MODULES, NOT_VERIFIED, PACKAGE, all_mutants
from mutation import known
from test_structure import JAX_MODULES, KERNEL_USERS, ORDER, imports, internal

import zkjax

ADVICE = "run `python tests/mutation.py --new`, and look at what survives"
DECIDE_NOTHING = {  # what a verifier imports besides: arithmetic and sizes, which every honest proof depends on; print; a prover's part
    "errors", "progress", "display", "commitment.rows", "circuit.parts", "circuit.sheet", "circuit.summary", "circuit.counts",
    "circuit.descent", "circuit.coarse", "circuit.layers", "circuit.shares", "circuit.lines", "circuit.units",
    "circuit.changes", "circuit.words",
    *("algebra", "circuit", "commitment", "ops", "proofs", "protocol"),
    *(f"algebra.{name}" for name in ("field", "extension", "poly", "vectors", "ntt", "hashing", "layout")),
    *(f"algebra.{name}" for name in ("threefry", "decimals", "normal")),
}  # fmt: skip


def test_every_check_has_a_result():
    mutants, results = [m.name for m in all_mutants()], known()
    assert len(mutants) == len(set(mutants)) > 500
    assert not [name for name in mutants if name not in results], ADVICE
    assert not [name for name in results if name not in set(mutants)], ADVICE


def test_every_mutant_is_noticed_or_explained():
    for name, noticed in known().items():
        assert noticed and "**" not in noticed, (name, noticed, ADVICE)
        assert noticed.startswith("equivalent: ") == (name in EQUIVALENT), name
        assert name not in EQUIVALENT or EQUIVALENT[name] in noticed
    assert set(EQUIVALENT) <= set(known())


def test_the_list_is_of_all_that_a_verifier_executes():
    reached, waiting = set(), ["verifier", "comparison", "lineage"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += [found for name, inside in imports(module) if not inside and (found := internal(name))]
    assert not reached & (JAX_MODULES | KERNEL_USERS)
    assert reached - DECIDE_NOTHING == set(MODULES) <= set(ORDER)


def test_what_is_left_out_is_there():
    """A function that is no part of the verifier is named as it is."""
    for module, names in NOT_VERIFIED.items():
        tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text("utf-8"))
        defined = set()

        def visit(node, name, defined=defined):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                    defined.add(f"{name}.{child.name}".lstrip("."))
                    visit(child, f"{name}.{child.name}")

        visit(tree, "")
        assert set(names) <= defined, module


def test_mutants_are_programs():
    """Some of them are compiled, and differ from their module; one of them is run, and noticed."""
    for mutant in random.Random(0).sample(all_mutants(), 25):
        source = mutant.source()
        compile(source, mutant.module, "exec")
        assert source != ast.unparse(ast.parse((PACKAGE / (mutant.module.replace(".", "/") + ".py")).read_text("utf-8")))
    code = """
import mutation
mutants = [m for m in mutation.all_mutants() if m.module == "protocol.transcript"]
mutants = [m for m in mutants if "self._at != len" in m.check and m.mutation == "negated"]
print(mutation.separately(mutants[0], "refusals", mutation.refused))
"""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(zkjax.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout == "refusals, honest: ledger\n", done.stderr
