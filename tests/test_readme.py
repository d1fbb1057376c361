"""The README, a front door: short, its commands are those of CI, its example and its figures are those of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_it_has_two_screens():
    assert len(README.splitlines()) <= 110


def test_ci_runs_the_second_command():
    first, second = (block.strip() for block in blocks("sh")[:2])
    assert first.endswith("pip install -e '.[experiments]' && .venv/bin/python experiments/digits.py")
    install, run = re.search(r"pip (install) -e ('\.\[test\]') && \S+/python (-m pytest.*)$", second).group(2, 3)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert f"-e {install}" in script and script.rstrip().endswith(f'python" {run}')


def test_its_example_is_that_of_the_quickstart():
    """Which ``test_notebooks.py`` runs."""
    (example,) = blocks("python")
    assert example == blocks("python", (ROOT / "docs/quickstart.md").read_text(encoding="utf-8"))[0]


def test_its_figures_are_those_of_the_documentation():
    (table,) = re.findall(r"^## Figures\n\n(.*?)\n\n", README, flags=re.MULTILINE | re.DOTALL)
    rows, known = table.splitlines(), (ROOT / "docs/figures.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 3 and [row for row in rows if row not in known] == []


def test_commands_stand_in_the_documentation_too():
    """Word by word, and what builds it."""
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("quickstart.md", "contributing.md"))
    assert len(blocks("sh")) == 3 and all(command in pages for command in blocks("sh"))
