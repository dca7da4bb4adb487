"""The compiled extension: the package's own or, in a checkout that has none, an installed one built from its sources.

Python started in a checkout imports the checkout's package, which has no kernels. Installed kernels are used with it only if
every C source file is the same, because otherwise Python would call, and tests would test, kernels of other sources.
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
# File next to an installed extension that lists the C sources it was compiled from, in the format of sha256sum.
SOURCES = "_fastrnn.sha256"
HOME = Path(__file__).parents[3]
REMEDY = "type `pip install .` there, or `just build`"


def load() -> ModuleType:
    """Import the extension. Raises ImportError, which says what to type, if a checkout has no matching one."""
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
    """Return why no extension will load, and what to type; None if there is one."""
    if NAME in sys.modules or PathFinder.find_spec(NAME, [str(HOME / "fastrnn")]):
        return None
    if not _is_checkout():
        return "fastrnn was installed without its C kernels, because they did not compile: `fastrnn info` says what to type"
    installed = _installed()
    return installed if isinstance(installed, str) else None


def _is_checkout() -> bool:
    return (HOME / "CMakeLists.txt").exists()


@cache
def _installed() -> ModuleSpec | str:
    """Return the first extension on Python's path built from this checkout's sources, or the reason if there is none."""
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
    """Return one line for each C source of a checkout, with its checksum; CMakeLists.txt writes the same lines."""
    files = sorted(path.relative_to(checkout).as_posix() for path in (checkout / "csrc").rglob("*.[ch]"))
    return "".join(f"{sha256((checkout / name).read_bytes()).hexdigest()}  {name}\n" for name in ["CMakeLists.txt", *files])


def _difference(file: Path, wanted: str) -> str:
    """Describe how the sources listed in a file differ from those ``wanted``; empty if they do not."""
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
