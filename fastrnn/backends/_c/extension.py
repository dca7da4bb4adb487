"""The compiled extension: the package's own or, in a checkout that has none, the one that was installed from it.

Python that is started in a checkout finds the package's sources first, without kernels. The installed kernels serve them
only if they were compiled from the same C sources, file by file: others would be called, and tested, in their place.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

NAME = "fastrnn._fastrnn"
# Beside an installed extension: the C sources that it was compiled from, as sha256sum writes them.
SOURCES = "_fastrnn.sha256"
HOME = Path(__file__).parents[3]
REMEDY = "type `pip install .` there, or `just build`"


def load() -> ModuleType:
    """Import the extension. Raises ImportError saying what to type where a checkout has none that fits."""
    try:
        return importlib.import_module(NAME)
    except ModuleNotFoundError as error:
        if error.name != NAME or NAME in sys.modules or not _is_checkout():
            raise
        installed = _installed()
        if isinstance(installed, str):
            raise ModuleNotFoundError(f"{error}: {installed}", name=NAME) from error
    return _imported(installed)


def missing() -> str | None:
    """Say what to type where this is a checkout for which no extension will load; None elsewhere."""
    if NAME in sys.modules or not _is_checkout() or PathFinder.find_spec(NAME, [str(HOME / "fastrnn")]):
        return None
    installed = _installed()
    return installed if isinstance(installed, str) else None


def _is_checkout() -> bool:
    return (HOME / "CMakeLists.txt").exists()


@cache
def _installed() -> ModuleSpec | str:
    """The first extension on Python's path that was compiled from this checkout's sources, or why there is none."""
    faults = []
    wanted = sources(HOME)
    for folder in [Path(entry or ".").resolve() / "fastrnn" for entry in sys.path]:
        spec = PathFinder.find_spec(NAME, [str(folder)]) if folder.parent != HOME else None
        if spec is None:
            continue
        difference = _difference(folder / SOURCES, wanted)
        if not difference:
            return spec
        faults.append(f"the kernels installed in {folder} {difference} the checkout {HOME}: {REMEDY}")
    return faults[0] if faults else f"the checkout {HOME} has no kernels, and none are installed: {REMEDY}"


def sources(checkout: Path) -> str:
    """The C sources of a checkout with their checksums, a line each; CMakeLists.txt writes the same."""
    files = sorted(path.relative_to(checkout).as_posix() for path in (checkout / "csrc").rglob("*.[ch]"))
    return "".join(f"{sha256((checkout / name).read_bytes()).hexdigest()}  {name}\n" for name in ["CMakeLists.txt", *files])


def _difference(file: Path, wanted: str) -> str:
    """How the sources listed in a file differ from those ``wanted``, or an empty text."""
    try:
        lines = set(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return "do not say whether they were compiled from the C sources of"
    other = lines ^ set(wanted.splitlines())
    names = sorted({line.partition("  ")[2] for line in other})
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"were compiled from another {names[0]}{more} than that of" if names else ""


def _imported(spec: ModuleSpec) -> ModuleType:
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module
    return module
