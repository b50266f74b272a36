"""How the documentation is built: `make docs` calls Sphinx with this."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import finetune_tabpfn

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BUILD = DOCS / "_build"
WITH_GALLERY = os.environ.get("GALLERY", "1") != "0"  # whether scripts and notebooks are run

project = "finetune-tabpfn"
author = "the authors of finetune-tabpfn"
copyright = "2026, " + author
release = version = finetune_tabpfn.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "**/.ipynb_checkpoints",
    "auto_examples/**.ipynb",  # the gallery has made pages of them
]
nitpicky = False
default_role = "literal"  # `name` in a docstring, as scikit-learn has it
toc_object_entries_show_parents = "hide"

# Markdown, and what is run in it. Outputs are kept for as long as neither the cells of a page nor
# the package has changed.


def _hash_of_the_package() -> str:
    """Return what changes with any file of the installed package."""
    found = hashlib.sha256()
    folder = Path(finetune_tabpfn.__file__).parent
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            found.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return found.hexdigest()[:16]


PACKAGE = _hash_of_the_package()
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "executed" / PACKAGE)
nb_execution_in_temp = True
nb_execution_excludepatterns = [] if WITH_GALLERY else ["notebooks/*.ipynb"]
nb_execution_timeout = 900  # of a cell; a busy machine is slow
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_output_stderr = "show"
nb_kernel_rgx_aliases = {"python3.*": "python3"}
suppress_warnings = ["mystnb.unknown_mime_type"]

# what the cells see: the program on the path, plain messages, the examples, no network
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
HOME = BUILD / "home"  # without anyone's .bashrc, which could put another Python first
HOME.mkdir(parents=True, exist_ok=True)
os.environ.update(
    {
        "HOME": str(HOME),
        "COLUMNS": "100",
        "EXAMPLES": str(ROOT / "examples"),
        "HF_HUB_OFFLINE": "1",
        "HISTFILE": os.devnull,
        "PYTHONHASHSEED": "0",
        "TABPFN_DISABLE_TELEMETRY": "1",
        "TABPFN_MODEL_CACHE_DIR": str(BUILD / "tabpfn-cache"),
        "TERM": "dumb",
        "TQDM_DISABLE": "1",
        "WANDB_MODE": "offline",
    }
)
for variable in ("TABPFN_TOKEN", "HF_TOKEN"):
    os.environ.pop(variable, None)

# The API, from the docstrings
autosummary_generate = True
autosummary_generate_overwrite = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_validation_checks = {
    "GL01",
    "GL03",
    "GL05",
    "GL06",
    "GL07",
    "GL08",
    "GL09",
    "GL10",
    "PR01",
    "PR02",
    "PR03",
    "PR04",
    "PR05",
    "PR06",
    "PR10",
    "RT01",
    "RT02",
    "SS01",
    "SS02",
    "SS03",
    "SS05",
    "YD01",
}

# what describes its fields as attributes, and a protocol
numpydoc_validation_exclude = {r"\.Backtest$", r"\.Experiment$", r"\.Prior$", r"\.Tables$"}

# The gallery, from the scripts
sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "auto_examples",
    "plot_gallery": WITH_GALLERY,
    "filename_pattern": r"\.py$",
    "within_subsection_order": "ExampleTitleSortKey",
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "reference_url": {"finetune_tabpfn": None},
    "doc_module": ("finetune_tabpfn",),
    "backreferences_dir": "api/backreferences",
}

# Its look: scikit-learn's, whose documentation our readers know
html_theme = "pydata_sphinx_theme"
html_title = "finetune-tabpfn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"index": [], "getting-started": []}
copybutton_exclude = ".linenos, .gp, .go"

# Links to places outside, which only `make docs-links` asks
linkcheck_timeout = 20
linkcheck_retries = 2


def _only_our_members(
    app: Any, what: str, name: str, member: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what a class has from scikit-learn or torch, whose documentation has it."""
    if what != "class" or isinstance(member, property):
        return None
    home = getattr(member, "__module__", None) or getattr(member, "__objclass__", dict).__module__
    return None if home.startswith("finetune_tabpfn") else True


def _bring_notebooks() -> None:
    """Copy the notebooks of the examples to where Sphinx finds them."""
    target = DOCS / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    source = ROOT / "examples" / "notebooks"
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))


def _forget_old_pages() -> None:
    """Remove generated pages of names that are not public any more."""
    public = (DOCS / "api.md").read_text(encoding="utf-8").split()
    for page in (DOCS / "api" / "generated").glob("*.rst"):
        if page.stem.rpartition(".")[2] not in public:
            page.unlink()


def setup(app: Any) -> None:
    """Connect what is done beside Sphinx's own."""
    app.add_config_value("finetune_tabpfn_files", PACKAGE, "env")  # read all again when they change
    _bring_notebooks()
    _forget_old_pages()
    app.connect("autodoc-skip-member", _only_our_members)
