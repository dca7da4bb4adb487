"""The scripts of examples/, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    """Import the script of this name, such as ``"drop_in"`` or ``"zoo/one_to_one"``, without running its ``main``."""
    folder = str((EXAMPLES / name).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # a script imports the modules next to it
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module
