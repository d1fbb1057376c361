"""Settings of Sphinx. Its sources are the whole repository's pages, so that their links hold on GitHub and here alike:

python -m sphinx -W --keep-going -c docs . docs/_build/html
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

import zkjax

sys.path.append(str(Path(__file__).parent))
from docstrings import restructured  # noqa: E402

project, author, version = "zkjax", "The zkjax authors", zkjax.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "notebooks/*.ipynb", "zkjax/PROTOCOL.md", "SECURITY.md", "CHANGELOG.md", "tests/*.md"]
exclude_patterns = [".*", "build", "dist", "runs", "docs/_build"]

myst_heading_anchors = 4
nb_execution_mode = "off"  # shown as they were run; tests/test_notebooks.py runs them
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "sheet"}  # what print shows
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"zkjax {version}"
html_extra_path = ["_root"]
html_copy_source = html_show_copyright = False


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("missing-reference", public)


def rewrite(app, what, name, thing, options, lines) -> None:
    lines[:] = restructured(lines)


def public(app, env, node, contnode):
    """A class that an annotation names by its module, where the reference has it under its public name."""
    name = node.get("reftarget", "").rsplit(".", 1)[-1]
    if node.get("refdomain") != "py" or name not in zkjax.__all__:
        return None
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", f"zkjax.{name}", node, contnode)
