"""The site's pages that are made from other files: the reference, the gallery, and links out of `docs/`."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent

# Picture of each example in the gallery; those without one are modules that examples share.
THUMBNAILS = {
    "drop_in": "layout",
    "drop_in_cell": "sweep",
    "custom_loop": "exploding",
    "train_names": "language_model",
    "jazz_course": "jazz_roll",
    "torch_language_model": "tile",
    "torch_packed": "lengths",
    "jax_language_model": "agreement",
    "one_model_everywhere": "deep",
    "onnx_vad": "zigzag",
    "g2p": "translate",
    "zoo/one_to_one": "one_to_one",
    "zoo/name_from_letter": "one_to_many",
    "zoo/classify_sentiment": "many_to_one",
    "zoo/tag_entities": "tagging",
    "zoo/translate_dates": "encoder_decoder",
    "zoo/piano_roll": "roll",
    "zoo/see_the_gradient": "gradient",
}
GALLERIES = {
    "": ("Examples", "Programs of one idea each. ``python examples/NAME.py`` runs them; the tests do so too."),
    "zoo/": ("The zoo", "Every architecture on a small task, with its baseline. They share modules of the same folder."),
}
# Classes that are not public, but whose docstrings describe what several public ones share.
BASES = (
    "fastrnn.layers._recurrent.base.Recurrent",
    "fastrnn.layers._recurrent.cell_layers.RecurrentCell",
    "fastrnn.layers.pooling.Pool",
)
TOP = {"README": "index", "CHANGELOG": "changelog", "CONTRIBUTING": "contributing", "SECURITY": "security"}


def write_examples(folder: Path) -> None:
    """Copy the examples with a heading and a picture, as sphinx-gallery wants them."""
    shutil.rmtree(folder, ignore_errors=True)
    for prefix, (title, text) in GALLERIES.items():
        (folder / prefix).mkdir(parents=True, exist_ok=True)
        (folder / prefix / "GALLERY_HEADER.rst").write_text(f"{_heading(title)}\n\n{text}\n", encoding="utf-8")
    for name, picture in THUMBNAILS.items():
        source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        docstring = source.split('"""')[1]
        what = f"# sphinx_gallery_thumbnail_path = 'figures/{picture}.png'\n\n"
        headed = f'"""\n{_heading(Path(name).name)}\n\n{docstring}'
        (folder / f"{name}.py").write_text(source.replace(f'"""{docstring}', headed, 1) + what, encoding="utf-8")


def write_reference(folder: Path) -> None:
    """Write a page for the package and one for each public module, as docs/api.md lists them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    modules = modules_of((DOCS / "api.md").read_text(encoding="utf-8"))
    modules += ["fastrnn.training.checkpoint", "fastrnn.training.schedules"]  # names of fastrnn.training
    exported, late = _exported()
    own = "".join(f"\n.. {kind}:: {name}\n" for kind, name in [*late, *(("autoclass", base) for base in BASES)])
    _write(folder / "fastrnn.rst", "fastrnn", f".. automodule:: fastrnn\n   :members:\n{own}")
    for module in modules:  # without the names that are on the package's own page
        options = f"   :members:\n   :exclude-members: {', '.join(sorted(exported))}\n"
        _write(folder / f"{module}.rst", module, f".. automodule:: {module}\n{options}")
    listed = "".join(f"   {module}\n" for module in ["fastrnn", *modules])
    _write(folder / "index.rst", "Reference of all names", f".. toctree::\n   :maxdepth: 1\n\n{listed}")


def _exported() -> tuple[set[str], list[tuple[str, str]]]:
    """Return the package's names, and a directive for each that it imports on first use, which autodoc does not find."""
    package = importlib.import_module("fastrnn")
    late = sorted(set(package.__all__) - set(vars(package)))
    kinds = ("autoclass" if isinstance(getattr(package, name), type) else "autofunction" for name in late)
    return set(package.__all__), [(kind, f"fastrnn.{name}") for kind, name in zip(kinds, late, strict=True)]


def _write(file: Path, title: str, text: str) -> None:
    file.write_text(f"{_heading(title)}\n\n{text}", encoding="utf-8")


def modules_of(page: str) -> list[str]:
    """Return the modules of the last table of docs/api.md."""
    return [name for cell in _first_cells(page.split("\n## ")[-1]) for name in re.findall(r"`(fastrnn[\w.]+)`", cell)]


def on_the_site(name: str, text: str) -> str:
    """Return a page's text with links to files out of `docs/` led to the site's own pages, or made plain.

    A page that stands for a file of the checkout's top folder becomes that file.
    """
    above = {page: top for top, page in TOP.items() if top != "README"}
    if name in above:
        text = (ROOT / f"{above[name]}.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?:\.\./|docs/)?(\w+)\.md(#[\w-]+)?\)", _top_page, text)
    text = re.sub(r"\]\((?:\.\./)?examples/([\w/]+)\.py\)", _example, text)
    text = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
    text = re.sub(r"\]\(docs/([^)]*)\)", r"](\1)", text)
    return _linked_names(text) if name == "api" else text


def _top_page(match: re.Match[str]) -> str:
    page, anchor = match[1], match[2] or ""
    return f"]({TOP.get(page, page)}.md{anchor})"


def _example(match: re.Match[str]) -> str:
    return f"](_gallery/{match[1]}.rst)" if match[1] in THUMBNAILS else "](_gallery/index.rst)"


def _linked_names(page: str) -> str:
    """Link each name in a first cell of the tables of docs/api.md to its description."""
    sections = page.split("\n## ")
    for i, prefix in ((1, "fastrnn."), (2, "fastrnn.training."), (3, "")):
        for cell in _first_cells(sections[i]):
            linked = re.sub(r"`([\w.]+)`", rf"{{py:obj}}`\1 <{prefix}\1>`", cell)
            sections[i] = sections[i].replace(f"| {cell} |", f"| {linked} |", 1)
    return "\n## ".join(sections)


def _first_cells(section: str) -> list[str]:
    return re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)


def by_last_words(target: str, names: Iterable[str]) -> str | None:
    """Return the one name that ends with a reference, or with its last word, as a reader of a docstring understands it."""
    for words in (target, target.rpartition(".")[2]):
        found = [name for name in names if name.endswith(f".{words}")]
        if len(found) == 1:
            return found[0]
    return None


def _heading(title: str) -> str:
    return f"{title}\n{'=' * len(title)}"
