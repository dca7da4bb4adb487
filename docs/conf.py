"""Settings of the documentation site, which `just docs` builds from the pages of this folder."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _site import pages

from fastrnn._core.version import __version__

os.environ.setdefault("KERAS_BACKEND", "numpy")  # Keras' own default is TensorFlow, which may be missing

HERE = Path(__file__).parent
pages.write_reference(HERE / "_reference")
pages.write_examples(HERE / "_examples")

project = "fastrnn"
author = "The fastrnn developers"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_site", "_examples", "figures"]
nitpicky = True
# Docstrings name private modules for readers of the code.
nitpick_ignore_regex = [("py:.*", r"fastrnn\..*\._.*|fastrnn\._.*")]

# Pages: the dialect of Markdown that GitHub shows, so that the same files serve there.
myst_enable_extensions = ["dollarmath", "colon_fence", "html_image"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

# The reference, from the docstrings. Frameworks that are not installed are replaced by empty ones.
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
autodoc_mock_imports = [name for name in ("torch", "jax", "keras", "mpi4py", "onnx") if not find_spec(name)]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# The examples: shown, not run, because some train for minutes; tests run them.
sphinx_gallery_conf = {
    "examples_dirs": ["_examples"],
    "gallery_dirs": ["_gallery"],
    "plot_gallery": False,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "show_signature": False,
    "reset_modules": (),
    "default_thumb_file": "figures/gates.png",
}

html_theme = "pydata_sphinx_theme"
html_title = f"fastrnn {version}"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app: Any) -> None:
    """Lead links out of this folder to the site's pages."""
    app.connect("source-read", _on_the_site)
    app.connect("missing-reference", _by_last_words)


def _on_the_site(app: Any, name: str, source: list[str]) -> None:
    source[0] = pages.on_the_site(name, source[0])


def _by_last_words(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Lead ``:class:`Recurrent` `` to the one description whose name ends so."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    public = [name for name, entry in domain.objects.items() if not entry.aliased]
    name = pages.by_last_words(node["reftarget"], public)
    if name is None or name == node["reftarget"]:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)
