"""The documentation site: `nox -s site`. Its source is the repository's root, so that README, changelog and board are pages of it."""

import os
from pathlib import Path

from pygments.lexers.special import TextLexer
from qbench.version import __version__

project = "qbench"
author = "The qbench contributors"
release = version = __version__

root_doc = "docs/index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = ["docs/**.md", "*.md", "leaderboard/LEADERBOARD.md", "results/*.md"]
exclude_patterns = ["leaderboard/results/**", "docs/templates/**"]
suppress_warnings = [
    "myst.header",  # a card's page begins with what its command prints
    "myst-nb.lexer",  # a tutorial that is not run has no kernel to say how its cells are coloured
]

# The tutorials are run, in a folder of their own each, and kept in the build folder until their text changes.
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
if chosen := os.environ.get("QBENCH_TUTORIALS"):  # names with commas: only these are run
    found = Path(__file__).parent.glob("tutorials/*.md")
    nb_execution_excludepatterns = [f"tutorials/{path.name}" for path in found if path.stem not in chosen.split(",")]
nb_execution_timeout = 600
nb_output_stderr = "remove"  # bars, which a page would show line by line
nb_merge_streams = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# `nox -s links` follows what leads outside; these refuse whoever is no browser, with 403 or a riddle, whether the page is there or not.
linkcheck_ignore = [r"https://doi\.org/.*", r"https://openreview\.net/.*", r"https://www\.ncbi\.nlm\.nih\.gov/.*"]
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]  # GitHub writes its anchors in the browser
linkcheck_timeout = 30
linkcheck_retries = 3

default_role = "code"  # docstrings put names between single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"qbench {__version__}"
html_static_path = ["_static"]
html_css_files = ["tutorials.css"]
html_copy_source = False


def without_pydantic(app, what, name, obj, skip, options):
    """Leave out what a pydantic class inherits; a setting's own line is its description."""
    return True if name.startswith("model_") else skip


def tutorials_apart(app, env, docnames):
    """Give a parallel build's processes, which share pages in this order, every other tutorial that is run."""
    left = {name.removesuffix(".md") for name in app.config.nb_execution_excludepatterns}
    found = [n for n in docnames if n.startswith("docs/tutorials/") and n.removeprefix("docs/") not in left]
    docnames[:] = found[::2] + [name for name in docnames if name not in found] + found[1::2]


def setup(app):
    """Hook into autodoc; a mermaid diagram, which GitHub draws, stays text here."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("env-before-read-docs", tutorials_apart)
    app.connect("autodoc-skip-member", without_pydantic)
