"""The README: its code runs as printed, its commands are those of CI, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_printed(tmp_path):
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks("python"))], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Steps 0..15 of the training step" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "mlp.circuit.json",
        "chunk-0000.proof",
        "chunk-0001.proof",
        "private",
        "private-long",
    }


def test_ci_runs_the_second_command():
    first, second = (block.strip() for block in blocks("sh")[:2])
    assert first.endswith("pip install -e '.[experiments]' && .venv/bin/python experiments/digits.py")
    install, run = re.search(r"pip (install) -e ('\.\[test\]') && \S+/python (-m pytest.*)$", second).group(2, 3)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert f"-e {install}" in script and script.rstrip().endswith(f'python" {run}')


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    missing = [target for target in targets if not target.startswith("https://") and not (ROOT / target).exists()]
    assert not missing


def test_what_can_be_traced_is_what_the_rules_say():
    """The table is written by a script, from the tracer's rules."""
    found = subprocess.run([sys.executable, "docs/traced.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() in (ROOT / "README.md").read_text(encoding="utf-8")
