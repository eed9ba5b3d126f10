"""Settings of the documentation site, which `make docs` builds from these pages with Sphinx.

The sources are the whole repository, so that a link between a page, a notebook and a file is the
same on the site as in a checkout.
"""

import importlib.metadata
import sys
from pathlib import Path

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx import addnodes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pages  # noqa: E402

project = "deep_nb"
author = "The deep_nb developers"
copyright = author
version = release = importlib.metadata.version("deep-nb")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*", "benchmarks/*", "CHANGELOG.md"]
exclude_patterns = [".*", "docs/_*", "deep_nb", "figures", "mutants", "replication", "tests"]

# Notebooks show the outputs that are stored in them; a widget shows its text.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# In docstrings, `name` is a name of the package where there is one, as in numpydoc's guide.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {  # scikit-learn adds these to its estimators
    "exclude-members": "set_fit_request, set_partial_fit_request, set_score_request"
}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

bibtex_bibfiles = ["../article/references.bib"]
bibtex_default_style = "keys"
bibtex_reference_style = "label"

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# MathJax comes with the site: `make docs` fetches it from npm.
mathjax_path = "tex-svg.js"
html_static_path = ["_mathjax/node_modules/mathjax/es5/tex-svg.js", "site.css"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_theme = "furo"
html_title = "deep_nb"
html_theme_options = {"top_of_page_buttons": []}
html_show_sphinx = False
html_show_search_summary = False  # it would need a server


class Keys(BaseLabelStyle):
    """Labels that are the keys: [P] here is [P]_ in a docstring."""

    def format_labels(self, entries):
        """Return the label of each entry."""
        return (entry.key for entry in entries)


class KeyStyle(Style):
    """Pybtex's plain style with these labels."""

    default_label_style = Keys


register_plugin("pybtex.style.formatting", "keys", KeyStyle)


def adapt(app, docname, source):
    """Let the public names link to their descriptions, and end examples without an empty line."""
    text = pages.linked_names() if docname == "docs/api" else source[0]
    source[0] = text.replace("\n\n```\n", "\n```\n")


def stars(app, context, lines):
    """Show the stars in the help of the command line, such as those of 'DEEP-*'."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def folders(app, doctree):
    """Show links to folders of the repository as text: a site has no folders."""
    here = Path(doctree["source"]).parent
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link.get("reftype") == "myst" and (here / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app):
    """Write the pages that are not typed, and connect the functions above."""
    pages.write()
    app.connect("source-read", adapt)
    app.connect("sphinx-click-process-options", stars)
    app.connect("doctree-read", folders)
    app.connect("autodoc-process-docstring", pages.cite)
