"""Python started in a checkout uses the installed kernels if they were compiled from the checkout's C sources."""

import shutil
import sys
from pathlib import Path

import pytest

import fastrnn
from fastrnn.backends._c import extension as c_extension


@pytest.fixture
def checkout(tmp_path):
    """Make a checkout: the package without kernels, and its C sources."""
    package, home = Path(fastrnn.__file__).parent, tmp_path / "checkout"
    shutil.copytree(package, home / "fastrnn", ignore=shutil.ignore_patterns("_fastrnn*", "__pycache__"))
    (home / "csrc").mkdir()
    for name in ("CMakeLists.txt", "csrc/api.h", "csrc/plan.c"):
        (home / name).write_text(name)
    return home


@pytest.fixture
def installed(c, checkout, tmp_path):
    """Make an installation of the kernels of that checkout."""
    folder = tmp_path / "site-packages" / "fastrnn"
    folder.mkdir(parents=True)
    shutil.copy(sys.modules["fastrnn._fastrnn"].__file__, folder)
    (folder / c_extension.SOURCES).write_text(c_extension.sources(checkout))
    return folder


STARTED_IN_A_CHECKOUT = """
import sys
sys.path[:0] = {places}
import numpy as np, fastrnn
fastrnn.backends.NAMES = ("c", "reference")  # Numba is slow to import
layer = fastrnn.GRU(2, 3, rng=0)
x = np.random.default_rng(1).standard_normal((4, 1, 2), dtype=np.float32)
with fastrnn.use_backend("reference"):
    expected = layer(x)[0]
print(fastrnn.backends.current().name, np.abs(layer(x)[0] - expected).max() < 1e-6)
print(fastrnn.__file__, getattr(sys.modules.get("fastrnn._fastrnn"), "__file__", None), sep="\\n")
"""


def _started(run_python, checkout, installed):
    return run_python(STARTED_IN_A_CHECKOUT.format(places=[str(checkout), str(installed.parent)]))


def test_python_that_is_started_in_a_checkout_uses_the_installed_kernels(run_python, checkout, installed):
    done = _started(run_python, checkout, installed)
    kernels = next(installed.glob("*.so"))
    assert done.stdout.splitlines() == ["c True", str(checkout / "fastrnn" / "__init__.py"), str(kernels)]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda checkout, installed: (checkout / "csrc/api.h").write_text("x"), "from another csrc/api.h than that of"),
        (
            lambda checkout, installed: ((checkout / "csrc/b.c").touch(), (checkout / "csrc/plan.c").unlink()),
            "from another csrc/b.c and 1 more than that of",
        ),
        pytest.param(
            lambda checkout, installed: (installed / c_extension.SOURCES).unlink(),
            "do not say whether they were compiled",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_kernels_of_other_sources_are_refused_at_once(run_python, checkout, installed, change, fault):
    change(checkout, installed)
    done = _started(run_python, checkout, installed)
    assert done.stdout.split()[:2] == ["reference", "True"]
    first, *rest = done.stderr.splitlines()
    assert fault in first
    assert f"the checkout {checkout}: type `pip install .` there, or `just build`" in first
    assert not [line for line in rest if "Warning" in line]


@pytest.mark.parametrize(
    ("is_checkout", "remedy"), [(True, "and none are installed: type `pip install .`"), (False, "`fastrnn info` says")]
)
def test_a_package_without_kernels_says_so_once_at_import(run_python, checkout, is_checkout, remedy):
    if not is_checkout:
        (checkout / "CMakeLists.txt").unlink()
    elsewhere = "[path for path in sys.path if not Path(path, 'fastrnn').exists()]"
    start = f"import sys, numpy.random; from pathlib import Path; sys.path = [{str(checkout)!r}, *{elsewhere}]"
    layer = "import fastrnn; fastrnn.backends.NAMES = ('c', 'reference'); fastrnn.GRU(2, 3)(numpy.ones((4, 1, 2), 'f4'))"
    warnings = [line for line in run_python(f"{start}; {layer}").stderr.splitlines() if "Warning" in line]
    assert len(warnings) == 1
    assert remedy in warnings[0]
    error = run_python(f"{start}; from fastrnn import backends; backends.load('c')", fails=True).stderr.splitlines()[-1]
    assert "BackendUnavailable: backend 'c' is not available: No module named 'fastrnn._fastrnn'" in error
    assert (remedy in error) == is_checkout
