"""The header of every test run, and the settings that tests change and fixtures restore."""

import os

# Threads of PyTorch and of NumPy's BLAS wait by spinning, which holds up other test processes, and the tests' small models
# do not need them. NumPy reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import importlib
import random
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import hypothesis
import pytest
from fast_backends import FAST_BACKENDS
from pairwise import pairwise, rows

import fastrnn
from fastrnn import backends
from fastrnn.backends._c import extension as c_extension
from fastrnn.backends.structs import CellSpec, StackSpec
from fastrnn.serialization import write_atomically
from fastrnn.training._run import plots

# Child processes must import the fastrnn that is tested here, not the checkout's folder, which has no compiled kernels.
os.environ["PYTHONSAFEPATH"] = "1"
HOME = Path(fastrnn.__file__).parents[1]
installed = str(HOME) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))  # found without PYTHONPATH
folders = [str(Path(__file__).parent), *([] if installed else [str(HOME)]), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)

# Child processes start in half the time if they share bytecode, also if the shell asks for none. So does the next run:
# pytest's rewriting of all asserts takes 6 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Keras' own default backend is TensorFlow, which the tests do not install.
os.environ.setdefault("KERAS_BACKEND", "numpy")

# Tests started in the background of a shell ignore Ctrl-C, and their child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every run tries the same examples, so only a change of the code can make it fail. --hypothesis-profile=default tries
# others. Examples have no deadline, because other processes may hold one up.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

pytest_plugins = ["trained_runs"]

C = importlib.import_module("fastrnn.backends._c.backend") if "c" in backends.available() else None
ISAS = C.isa_names() if C else ()
# Every implementation except the reference: a backend, and the instruction set that it has to use (None: its own choice).
ENGINES = [*(("c", isa) for isa in ISAS), *((name, None) for name in backends.available() if name not in ("c", "reference"))]


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=30, help="kills in the test of random times (default: 30)")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector from the modules and tests, which stay: each look at all of them takes half a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one process run all tests whose preparation takes long: Numba's compiler, the training of a jazz model."""
    from xdist.scheduler import LoadScopeScheduling

    class OnePrepares(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((name for name in ("numba", "test_music_trained") if name in nodeid), nodeid)

    return OnePrepares(config, log)


def pytest_report_header():
    isa = f"{C.info()['isa']} of {', '.join(ISAS)}" if C else "none"
    return [
        *filter(None, [c_extension.missing()]),
        f"fastrnn: {fastrnn.__version__} from {Path(fastrnn.__file__).parent}",
        f"backends: {', '.join(backends.available())}; isa: {isa}; threads: {fastrnn.get_num_threads()}",
    ]


@pytest.hookimpl(tryfirst=True)  # before -m deselects the slow tests
def pytest_collection_modifyitems(items):
    """Mark as slow the instances of a test that its pairwise part does not need."""
    groups = {}
    for item in items:
        if hasattr(item, "callspec") and len(item.callspec.params) > 1 and not item.get_closest_marker("slow"):
            groups.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for group in groups.values():
        quick = pairwise(rows([item.callspec.params for item in group]))
        for i, item in enumerate(group):
            if i not in quick:
                item.add_marker(pytest.mark.slow)


def _engine_name(engine):
    return "-".join(part for part in engine if part)


@pytest.fixture(autouse=True)
def _repeatable(request, monkeypatch):
    """Seed NumPy's fresh generators by the test's name, so that no test fails by chance.

    Child processes, and fixtures of a wider scope, are not reached.
    """
    monkeypatch.setattr("numpy.random.bit_generator.randbits", random.Random(request.node.nodeid).getrandbits)


@pytest.fixture(params=ENGINES, ids=_engine_name)
def engine(request):
    """Select an instruction set of a backend, and return the backend's name."""
    backend, isa = request.param
    if isa:
        C.set_isa(isa)
    yield backend
    if isa:
        C.set_isa(None)


@pytest.fixture(params=FAST_BACKENDS)
def every_isa(request):
    """Return the names of a backend's instruction sets, each of which is selected when a loop over them comes to it.

    A test with this fixture computes what all of them must agree with only once.
    """

    class Selected:
        def __iter__(self):
            for isa in ISAS:
                C.set_isa(isa)
                yield request.param, isa

    yield Selected() if request.param == "c" else [(request.param, "")]
    if request.param == "c":
        C.set_isa(None)


@pytest.fixture(params=[("reference", None), *(engine for engine in ENGINES if engine[0] == "c")], ids=_engine_name)
def training_engine(request):
    """Select an implementation of losses, clipping and optimisers: NumPy's, which Numba shares, or the C library's."""
    backend, isa = request.param
    if isa:
        C.set_isa(isa)
    with fastrnn.use_backend(backend):
        yield backend
    if isa:
        C.set_isa(None)


@pytest.fixture(params=ISAS)
def isa(request):
    """Select an instruction set for the C backend."""
    C.set_isa(request.param)
    yield request.param
    C.set_isa(None)


@pytest.fixture
def c():
    """Return the module of the C backend, and restore its choice of an ISA; skip the test if there is none."""
    if C is None:
        pytest.skip("the C backend was not built")
    yield C
    C.set_isa(None)


@pytest.fixture
def torch():
    """Return PyTorch; skip the test if it is not installed."""
    return pytest.importorskip("torch")


@pytest.fixture
def x64():
    """Let JAX compute in float64 where a test asks for it."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)  # set for all threads, because one of them runs callbacks
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def xla_handlers():
    """Skip the test where XLA's programs cannot call the kernels."""
    if C is None:
        pytest.skip("only the C backend has handlers for XLA")


@pytest.fixture(params=["ffi", pytest.param("callback", marks=pytest.mark.slow)])
def xla_calls(request, monkeypatch):
    """Run the test both ways: XLA's programs call the C library, or Python. test_other_backends_run_* is quick."""
    if request.param == "callback":
        monkeypatch.setattr("fastrnn.jax._ffi.usable", lambda: False)
    else:
        request.getfixturevalue("xla_handlers")
    return request.param


@pytest.fixture
def set_threads(c):
    """Return ``fastrnn.set_num_threads``; restore the number of threads at the end of the test."""
    before = fastrnn.get_num_threads()
    yield fastrnn.set_num_threads
    fastrnn.set_num_threads(before)


@pytest.fixture
def any_size(monkeypatch):
    """Let each precision run for every size of a layer and a batch."""
    from fastrnn.backends._c import precision, stack

    for size in ("SMALLEST", "SMALLEST_BATCH", "SMALLEST_SPLIT"):
        monkeypatch.setattr(precision, size, 1)
    stack._kernel.cache_clear()
    yield
    stack._kernel.cache_clear()


@pytest.fixture
def medium_everywhere(any_size, monkeypatch):
    """Let "medium" run on every instruction set and for every size, although it is faster on few."""
    from fastrnn.backends._c import precision

    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)


@pytest.fixture
def medium_is_fast(c):
    """Skip the test if "medium" does not run on this processor of its own accord."""
    spec = StackSpec(CellSpec("rnn", 64, 64), precision="medium")
    if backends.load("c").plan(spec, 1, 16)[0].precision != "medium":
        pytest.skip("needs a processor that multiplies bfloat16 faster than float32")


@pytest.fixture
def run_python():
    """Run a program in its own process, which can import fastrnn and tests/cases.py.

    Keyword arguments are its only ``FASTRNN_`` variables. Returns the CompletedProcess. Unless ``fails`` is set, an exit
    status other than 0 fails the test and shows what the program wrote.
    """

    def run(program, *, fails=False, **environment):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("FASTRNN_")}
        one_thread = {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=inherited | one_thread | environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert fails or done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def quick_pictures(monkeypatch):
    """Write the data of a loss curve instead of drawing it, because drawing takes longer than a short training."""

    def draw(rows, path, unit, scale, baselines):
        points = [(row.step, row.train_loss, row.val_loss) for row in rows]
        write_atomically(path, repr((points, unit, dict(baselines))).encode())

    monkeypatch.setattr(plots, "draw_losses", draw)


@pytest.fixture
def become_terminal(monkeypatch):
    """Return a function that makes standard output a terminal, on which rich draws every change of a bar."""
    pytest.importorskip("rich")
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("fastrnn.training.callbacks.REFRESH_SECONDS", 0.0)
    # Tests call this themselves, because capsys replaces sys.stdout after the fixtures.
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
