"""The documentation site: `nox -s site`. Its source is the repository's root, so that README, changelog and board are pages of it."""

from pygments.lexers.special import TextLexer
from qbench.version import __version__

project = "qbench"
author = "The qbench contributors"
release = version = __version__

root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = ["docs/**.md", "*.md", "leaderboard/LEADERBOARD.md", "results/*.md"]
exclude_patterns = ["leaderboard/results/**"]
suppress_warnings = ["myst.header"]  # a card's page begins with what its command prints

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

default_role = "code"  # docstrings put names between single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"qbench {__version__}"
html_copy_source = False


def without_pydantic(app, what, name, obj, skip, options):
    """Leave out what a pydantic class inherits; a setting's own line is its description."""
    return True if name.startswith("model_") else skip


def setup(app):
    """Hook into autodoc; a mermaid diagram, which GitHub draws, stays text here."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("autodoc-skip-member", without_pydantic)
