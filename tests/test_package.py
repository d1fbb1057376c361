"""What is handed out: the wheel, the source archive, and the types that checkers see."""

import ast
import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import zkjax

ROOT = Path(__file__).resolve().parent.parent


def run(*command, **options):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without a network, from a copy: what an earlier build left in the tree does not get in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(*(ROOT / ".gitignore").read_text().replace("/", "").split(), ".git")
    shutil.copytree(ROOT, source, ignore=ignored, dirs_exist_ok=True)
    assert (source / "tests").is_dir()
    run("-W", "ignore", "-m", "build", "--no-isolation", "--outdir", out, source)  # a source archive, and the wheel from it
    (path,) = out.glob("*.whl")
    return path


def test_the_source_archive_holds_what_its_tests_read(wheel):
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("zkjax", "tests", "experiments", "notebooks", "docs")
    wanted = {str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()}
    wanted = {name for name in wanted if not re.search(r"__pycache__|\.pyc$|\.ipynb_checkpoints|\.hypothesis|docs/_build/", name)}
    assert wanted | {"README.md", "SECURITY.md", "LICENSE", "pyproject.toml", "MANIFEST.in", ".ci/run"} <= names


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = email.message_from_bytes(archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))))
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "zkjax").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == package >= {"zkjax/py.typed", "zkjax/PROTOCOL.md", "zkjax/__init__.pyi"}
    required = {re.match(r"[\w-]+", x).group() for x in metadata.get_all("Requires-Dist") if "extra ==" not in x}
    assert required == {"jax", "jaxlib", "flax", "optax", "numpy", "tqdm"}
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Version"] == zkjax.__version__


def test_the_wheel_installs_and_its_command_runs(wheel, tmp_path):
    """As an auditor does it: without dependencies (NumPy is there already)."""
    run("-m", "pip", "install", "--no-index", "--no-deps", "--quiet", "--target", tmp_path, wheel)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import zkjax.__main__ as m; print(m.__file__); m.main(['--help'])"
    done = run("-I", "-c", code, cwd=tmp_path)
    assert done.stdout.startswith(str(tmp_path)) and "verify" in done.stdout


def test_type_checkers_see_the_public_names():
    """The stub names what the lazy package hands out, from the same modules."""
    found = {}
    for node in ast.parse((ROOT / "zkjax/__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names)
            found |= {alias.name: node.module for alias in node.names}
    assert found == zkjax._PUBLIC
