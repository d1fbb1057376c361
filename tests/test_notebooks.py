"""The notebooks and the guide run from top to bottom, and say nothing that they should not."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
QUICK = [path for path in NOTEBOOKS if not path.name.startswith("04")]
DOCS = FOLDER.parent / "docs"

# What comes before a notebook in a process that has run others: no names, its folder, the path for imports as it was.
RESET = """
import os, sys
os.chdir({folder!r}), os.environ.update({environment!r})
sys.path_at_first = getattr(sys, "path_at_first", [*sys.path])
sys.path[:] = sys.path_at_first
%reset -f
"""


class Kernel:
    """One process of IPython for all notebooks: what they prove with is traced once in it."""

    def __init__(self):
        place = {"metadata": {"path": str(FOLDER)}}
        self._client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", resources=place)

    def run(self, notebook, folder: Path, **environment: str):
        """The notebook, executed in a folder; an exception in a cell fails the test."""
        reset = nbformat.v4.new_code_cell(RESET.format(folder=str(folder), environment=environment).strip())
        notebook.cells.insert(0, reset)
        self._client.nb = notebook
        self._client.execute(cleanup_kc=False)
        notebook.cells.remove(reset)
        return notebook

    def close(self) -> None:
        self._client.nb = nbformat.v4.new_notebook()
        self._client.execute()


@pytest.fixture(scope="module")
def kernel():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FOLDER.parent))
        kernel = Kernel()
        yield kernel
        kernel.close()


def text_of(notebook) -> str:
    """All that the cells printed or returned."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in outputs)


def pictures(notebook) -> int:
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.filterwarnings("ignore")  # of the kernel's own machinery
@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_it_runs(path, kernel):
    notebook = kernel.run(nbformat.read(path, as_version=4), FOLDER)
    committed = nbformat.read(path, as_version=4)
    assert pictures(notebook) == pictures(committed) > 1  # what is committed shows what a reader would see
    text = text_of(notebook)
    if path.name.startswith("01"):
        assert "VALID: 1 proof" in text and "refused by the check 'pinned seed'" in text
    if path.name.startswith("03"):  # every lie names the check that caught it, the honest runs pass
        told = dict(line.rsplit(": ", 1) if ": " in line else (line, "") for line in text.splitlines() if "refused by: " in line)
        assert len(told) == 10 and [lie for lie, check in told.items() if check.strip() == "None"] == ["the honest proof is refused by"]
        assert "None" not in text.split("refused by: None", 1)[1].split("no lie at all")[0]
    if path.name.startswith("05"):
        assert "VALID: 4 proofs" in text
        first, last = map(float, re.search(r"the loss went from (\S+) to (\S+) in 48 steps", text).groups())
        assert last < 0.7 * first
    if path.name.startswith("06"):
        assert "VALID: What this folder shows" in text and "SAME: this source" in text and "DIFFERENT" in text
        assert re.findall(r"refused by the check '(.+)'", text) == ["model", "model", "data", "data", "Merkle path"]
        assert "NOT NOTICED" not in text


# ---- the guide --------------------------------------------------------------------------------------------------
def guide() -> list[Path]:
    """The pages that show how to use zkjax, in the order of the contents."""
    contents = re.search(r"^```{toctree}\n:hidden:\n:caption: To use it\n\n(.*?)^```", (DOCS / "index.md").read_text("utf-8"), re.M | re.S)
    return [DOCS / f"{name}.md" for name in contents[1].split()]


@pytest.mark.filterwarnings("ignore")  # of the kernel's own machinery
def test_the_guide_runs_as_printed(kernel, tmp_path):
    """Page by page: what one defines the next one uses."""
    blocks = [block for page in guide() for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)]
    notebook = kernel.run(nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, blocks)]), tmp_path)
    assert "Steps 0..15 of the training step" in text_of(notebook)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mlp.circuit.json",
        "chunk-0000.proof",
        "model.safetensors",
        "model.disclosure",
        "sample.disclosure",
        "sample.npz",
        "shard.proof",
        "data.disclosure",
        "link.proof",
        "link-2.proof",
        "comparison.json",
        "comparison.proof",
        "evaluation.json",
        "evaluation.proof",
        "test.disclosure",
        "precision.json",
        "private",
        "mlp-training",
        "published",
        "tuned",
        "onward",
    }


# ---- the fourth notebook ----------------------------------------------------------------------------------------
TRAINED = ("lenet", "inference")
REPORTS = ("scaling", "aggregation", "headline", "accuracy", "peers", "primitives")


def shown(notebook) -> str:
    return "\n".join(output.get("data", {}).get("text/markdown", "") for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.filterwarnings("ignore")
def test_reports_are_shown(kernel, tmp_path, experiment, tiny):
    """The fourth notebook on reports that are there already: on figures of the tiny net, and on pages that are made here."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/tiny.json").write_text(json.dumps(tiny["aggregated"][0]))
    for name in REPORTS:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.md").write_text(f"# Report of {name}\n")
        with experiment("report").figure(tmp_path / name / f"{name}.png", 1, 1) as (_, (panel,)):
            panel.plot([1, 2])
    for name in TRAINED:
        (tmp_path / name).mkdir()
        figures = {"data": "digits", "steps": 2, "proof_bytes": [5000], "float_score": 50, "exact_score": 49, "float_losses": [2, 1]}
        (tmp_path / name / "report.json").write_text(json.dumps({"figures": {**figures, "exact_losses": [2, 1]}}))
    notebook = kernel.run(nbformat.read(NOTEBOOKS[3], as_version=4), FOLDER, ZKJAX_RUNS=str(tmp_path))
    text = shown(notebook)
    assert "proven security" in text and all(f"#### Report of {name}" in text for name in REPORTS)
    assert text.count("| digits | 2 | 1 of 5 kB | 50.00 % | 49.00 % |") == len(TRAINED)
    assert text.count("\n| `vgg`") == 2 and "Kaizen" in text  # quoted from the figures
    assert pictures(notebook) == pictures(nbformat.read(NOTEBOOKS[3], as_version=4)) == len(REPORTS) + 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_measurements_run(kernel, tmp_path):
    """The fourth notebook measures what is missing, in the reduced sizes: a quarter of an hour and more."""
    notebook = kernel.run(nbformat.read(NOTEBOOKS[3], as_version=4), FOLDER, ZKJAX_RUNS=str(tmp_path))
    assert json.loads((tmp_path / "bench/tiny.json").read_text())["zero_knowledge"]
    assert all((tmp_path / name / f"{name}.png").stat().st_size for name in REPORTS)
    assert all((tmp_path / name / "chunk-0000.proof").stat().st_size for name in TRAINED)
    assert shown(notebook).count("Measured on ") == len(REPORTS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed(path):
    """Small; run from top to bottom or not at all; no errors, no warnings, no paths of the machine that ran it."""
    assert path.stat().st_size < 250_000
    cells = nbformat.read(path, as_version=4).cells
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert not re.search(r"/(root|home|tmp|Users)/", json.dumps(outputs))
    assert os.linesep.join(cell.source for cell in cells if cell.cell_type == "markdown").startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    cells = nbformat.read(path, as_version=4).cells
    targets = [t for cell in cells if cell.cell_type == "markdown" for t in re.findall(r"\]\(([^)#]+)\)", cell.source)]
    assert [t for t in targets if not t.startswith("https://") and not (FOLDER / t).exists()] == []
