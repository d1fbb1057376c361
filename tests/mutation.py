"""Change every check of the verifier, one at a time, and see a test fail each time: ``python tests/mutation.py``.

Each mutant of ``mutants.py`` runs in a process of its own, in which its module's source is replaced as it is imported. First
all of ``refusals.py``, which takes seconds; what survives, and what leaves out a constraint, then runs the files of
tests in ``FILES``, up to the first failure. The results go to ``mutation.md``, with the test that noticed each mutant, or the
reason why no test can. ``--new`` runs only what the list lacks (or calls surviving), ``--only TEXT`` what has TEXT in its name.

The whole run takes about half an hour on one core. ``test_mutation.py`` compares the list with the source.
"""

import argparse
import importlib.abc
import importlib.util
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from equivalent import EQUIVALENT
from mutants import PACKAGE, Mutant, all_mutants

HERE = Path(__file__).parent
RESULTS = HERE / "mutation.md"
SECONDS = {"refusals": 40, "tests": 400}  # of processor time, then a mutant counts as noticed: it hangs
MEMORY = 6 * 2**30
LIES = "test_lies.py::test_a_net_without_activations test_lies.py::test_frozen_parameters_are_committed_once "
LIES += "test_lies.py::test_updates_that_are_committed test_lies.py::test_every_hidden_message "
LIES += "test_known_attacks.py::test_F04_an_operation_that_proves_nothing"
FILES = {  # by module, or by room
    "protocol.argument": LIES,
    "circuit": "test_states.py test_levels.py test_integers.py test_circuit.py",
    "protocol.claims": "test_claims.py",
    "commitment": "commitment",
    "proofs.checks": "test_proofs.py test_renewal.py test_forms.py",
    "proofs.estimate": "test_work.py",
    "evaluation": "test_evaluation.py",
    "comparison": "test_comparison.py",
    "lineage": "test_lineage.py",
    "algebra.exact": "test_exact.py",
    "algebra.functions": "test_functions.py",
    "files": "test_work.py",
    "protocol": f"test_known_attacks.py::test_F05_members_that_are_not_counted {LIES}",
    "protocol.hidden": "test_hidden.py",
    "protocol.lookup": "test_lookup.py",
    **dict.fromkeys(("ops.functions", "ops.tables"), f"test_functions.py test_advice.py test_advice_lies.py {LIES}"),
    **dict.fromkeys(("ops.maximum", "ops.division", "ops.root", "ops.paced"), "test_advice.py test_advice_lies.py"),
    "ops": f"test_integers.py test_claims.py test_circuit.py {LIES}",
    "proofs": "test_parts.py test_link_proofs.py",
    "proofs.header": "test_bad_input.py test_disclosures.py",
    "proofs.proof": "test_bad_input.py",
    **dict.fromkeys(("proofs.disclosed", "proofs.disclosure", "protocol.disclosure"), "test_disclosures.py test_samples.py"),
    "proofs.model": "test_disclosures.py",
    "proofs.drawing": "test_drawings.py",
    "proofs.published": "test_command_line.py",
    "protocol.schedule": "test_schedule.py",
    "proofs.soundness": "test_proofs.py",
    "proofs.statement": "test_proofs.py",
    "protocol.motion": "test_states.py",
    **dict.fromkeys(("circuit.ranged", "ops.forms", "protocol.forms"), "test_forms.py"),
    "protocol.states": f"test_states.py {LIES}",
    "protocol.sumcheck": "test_sumcheck.py",
    "protocol.transcript": "test_transcript.py test_forms.py",
    "verifier": "test_proofs.py test_link_proofs.py",
    "work": "test_work.py",
}
HEAD = """# Every check of the verifier, changed

Written by `python tests/mutation.py`, which says how; never by hand. For each module and function its checks, and for each
check its mutants, each with the first test that notices it.

"""


class Altered(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of zkjax from another source."""

    def __init__(self, module: str, source: str):
        self.name, self.source = f"zkjax.{module}", source

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, PACKAGE / (name.partition(".")[2].replace(".", "/") + ".py"), loader=self)

    def exec_module(self, module):
        exec(compile(self.source, module.__spec__.origin, "exec"), module.__dict__)


def refused() -> str | None:
    """The first case of ``refusals.py`` that fails."""
    import refusals

    for group in refusals.GROUPS:
        where = f"refusals, {group.__name__}"
        try:
            for case in group():
                where = f"refusals, {group.__name__}: {case.name}"
                case.run()
        except Exception:
            traceback.print_exc()
            return where
    return None


def failing(files: str) -> str | None:
    """The first test of these files that fails."""
    import pytest

    class First:
        name = None

        def pytest_runtest_logreport(self, report):
            if report.failed and self.name is None:
                self.name = report.nodeid

        def pytest_collectreport(self, report):
            if report.failed and self.name is None:
                self.name = f"{report.nodeid}, as it is collected"

    first = First()
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--rootdir", str(HERE.parent)]  # in this process: the mutant is here
    arguments = [*options, *(str(HERE / name) for name in files.split())]
    code = pytest.main(arguments, plugins=[first])
    return first.name or (None if code == 0 else f"pytest ends with {code}")


def separately(mutant: Mutant | None, stage: str, check: Callable[[], str | None]) -> str | None:
    """What ``check`` finds in a fresh process in which the mutant takes its module's place."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        log = os.open(Path(tempfile.gettempdir()) / "zkjax-mutant.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(log, 1), os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS[stage], SECONDS[stage]))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        found = "nothing works"
        try:
            if mutant is not None:
                sys.meta_path.insert(0, Altered(mutant.module, mutant.source()))
            found = check() or ""
        except BaseException:
            traceback.print_exc()
            found = "the package cannot be imported"
        finally:
            os.write(writing, found.encode()[:4096])
            os._exit(0)
    os.close(writing)
    patience = 4 * SECONDS[stage]
    ready, _, _ = select.select([reading], [], [], patience)
    if not ready:
        os.kill(child, signal.SIGKILL)
    found = os.read(reading, 4096).decode() if ready else ""
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return f"{stage}: does not come to an end" if status else found or None


def tested(mutant: Mutant, refusal: str | None) -> bool:
    """Whether the files of tests run for a mutant: of a constraint always, since the frozen proof only tells that it is missing, not
    whether a liar, who leaves it out as well, could use that."""
    return mutant.name not in EQUIVALENT and (not refusal or "require_zero" in mutant.check)


def result(mutant: Mutant, noticed: list[str | None]) -> str:
    """What noticed a mutant, in words."""
    found, reason = "; ".join(x for x in noticed if x), EQUIVALENT.get(mutant.name)
    if reason is None:
        return found or "**survives**"
    return f"{found} **but** thought to be equivalent: {reason}" if found else f"equivalent: {reason}"


# ---- the list ---------------------------------------------------------------------------------------------------
def lines(mutants, results: dict) -> list[str]:
    """The list, without its head: modules, functions, checks, and mutants with their results."""
    found, at = [], ("", "", "")
    for module, function, check, mutation in (m.name for m in mutants):
        if module != at[0]:
            found += ["", f"## {module}"]
        if (module, function) != at[:2]:
            found += ["", f"### {module}: {function or 'constants'}", ""]
        if (module, function, check) != at:
            found.append(f"- `{check}`")
        at = module, function, check
        found.append(f"  - `{mutation}`: {results.get((module, function, check, mutation), '**not run**')}")
    return found[1:]


def known() -> dict:
    """The results in ``mutation.md``, by the mutants' names."""
    found, module, function, check = {}, "", "", ""
    for line in RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []:
        if line.startswith("### "):
            module, _, function = line[4:].partition(": ")
            function = "" if function == "constants" else function
        elif line.startswith("- `"):
            check = line[3:-1]
        elif line.startswith("  - `"):
            mutation, _, noticed = line[5:].partition("`: ")
            found[module, function, check, mutation] = noticed
    return found


def write(mutants, results: dict) -> None:
    counts = {"mutants": len(mutants), "checks": len({m.name[:3] for m in mutants})}
    values = [results.get(m.name, "**not run**") for m in mutants]
    equivalent = sum(v.startswith("equivalent") for v in values)
    loose = sum("**" in v for v in values)
    summary = f"{counts['checks']} checks, {counts['mutants']} mutants: {len(values) - equivalent - loose} noticed, {equivalent} equivalent"
    RESULTS.write_text(
        HEAD + summary + (f", {loose} not settled" if loose else "") + ".\n\n" + "\n".join(lines(mutants, results)) + "\n", "utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--new", action="store_true", help="only mutants without a result, or that survived")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants with this in their name")
    options = parser.parse_args()
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(prefix="zkjax-mutants-")}
    os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import flax.nnx  # noqa: F401  loaded once, for all mutants
    import jax.numpy  # noqa: F401
    import optax  # noqa: F401
    import pytest  # noqa: F401

    for stage, check in (("refusals", refused), ("tests", lambda: failing(" ".join(sorted(set(" ".join(FILES.values()).split())))))):
        noticed = None if options.new or options.only else separately(None, stage, check)  # nothing may fail by itself
        if noticed:
            sys.exit(f"the unchanged verifier fails: {noticed}")
    mutants, results = all_mutants(), known()
    chosen = [m for m in mutants if options.only in " | ".join(m.name)]
    if options.new:
        chosen = [m for m in chosen if "**" in results.get(m.name, "**")]
    refusals: dict = {}
    start, number = time.monotonic(), 0

    def note(mutant, *noticed):
        nonlocal number
        number += 1
        results[mutant.name] = result(mutant, noticed)
        print(f"{number} {time.monotonic() - start:.0f} s  {' | '.join(mutant.name)}: {results[mutant.name]}", flush=True)
        write(mutants, results)

    print(f"{len(chosen)} mutants")
    for mutant in chosen:
        refusals[mutant.name] = separately(mutant, "refusals", refused)
        note(mutant, refusals[mutant.name])
    later = [m for m in chosen if tested(m, refusals[m.name])]
    print(f"{len(later)} of them for the files of tests")
    for mutant in later:
        files = FILES[mutant.module if mutant.module in FILES else mutant.module.partition(".")[0]]
        note(mutant, refusals[mutant.name], separately(mutant, "tests", lambda files=files: failing(files)))
    write(mutants, results)
    loose = [m for m in mutants if "**" in results.get(m.name, "**")]
    sys.exit(f"{len(loose)} mutants are not settled" if loose else 0)


if __name__ == "__main__":
    main()
