"""The documentation: it builds without a warning, its links lead somewhere, its reference is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import zkjax

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted({*DOCS.glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("tests/*.md"), ROOT / "zkjax/PROTOCOL.md"})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, by the README's command; a warning is an error."""
    (command,) = re.findall(r"^\S*python -m (sphinx -W .*)$", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    out = tmp_path_factory.mktemp("docs") / "html"
    *options, named = command.split()
    assert named == "docs/_build/html"
    done = subprocess.run([sys.executable, "-m", *options, str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_it_builds(built):
    """Every page that people read has one, notebooks among them; the start page stands where a server looks for it."""
    pages = [page for page in PAGES if page.name != "README.md"] + [*ROOT.glob("notebooks/*.ipynb")]
    assert {page for page in pages if not (built / page.relative_to(ROOT).with_suffix(".html")).is_file()} == set()
    (start,) = re.findall(r"url=(\S+)\"", (built / "index.html").read_text("utf-8"))
    assert (built / start).is_file()


def test_the_reference_has_every_public_name(built):
    page = (built / "docs/api.html").read_text(encoding="utf-8")
    assert {name for name in zkjax.__all__ if f'id="zkjax.{name}"' not in page} == set()
    assert re.search(r"<dt><strong>batch</strong></dt>\s*<dd><p>tuple of arrays", page)  # not a block of indented text
    assert 'href="#zkjax.PrecisionError"' in page and page.count('href="#zkjax.Circuit"') > 10  # in texts, and in signatures


def test_a_notebook_is_shown_as_it_was_run(built):
    page = (built / "notebooks/01_prove_your_training.html").read_text(encoding="utf-8")
    assert "VALID: 1 proof" in page and "<img " in page


def test_what_can_be_traced_is_what_the_rules_say():
    """The table is written by a script, from the tracer's rules."""
    found = subprocess.run([sys.executable, "docs/traced.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() in (DOCS / "traced.md").read_text(encoding="utf-8")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    missing = []
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        if not there.exists() or anchor and anchor not in headings(there):
            missing.append((target, anchor))
    assert not missing


# ---- docstrings -------------------------------------------------------------------------------------------------


@pytest.fixture
def restructured(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    from docstrings import restructured

    return lambda text: "\n".join(restructured(text.split("\n"))).strip()


def test_a_table_of_names_becomes_definitions(restructured):
    text = "Do it.\n\nparams, state: pytrees,\n               of arrays.\nraise:  never.\nElse as it is."
    definitions = "**params, state**\n    pytrees,\n    of arrays.\n\n**raise**\n    never.\n\nElse as it is."
    assert restructured(text) == f"Do it.\n\n{definitions}"


def test_prose_that_begins_with_a_name_stays_prose(restructured):
    text = "bits: of a table. period: steps\nafter which something is rounded."
    assert restructured(text) == text


def test_public_names_become_links(restructured):
    assert restructured("``zkjax.trace``, ``Run.load`` and ``run.load``") == (
        ":py:obj:`trace <zkjax.trace>`, :py:obj:`Run.load <zkjax.Run.load>` and ``run.load``"
    )
    assert restructured("raises DataError") == "raises :py:class:`DataError <zkjax.DataError>`"
