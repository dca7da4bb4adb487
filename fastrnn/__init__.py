"""Fast RNN, GRU and LSTM for the CPU.

Its layers replace ``torch.nn.RNN``, ``GRU`` and ``LSTM`` on NumPy arrays::

    lstm = fastrnn.LSTM(64, 128, num_layers=2)
    y, (h_n, c_n) = lstm(x)                       # inference
    (y, state), backward = lstm.forward(x)        # training ...
    dx, dstate = backward(dy)                     # ... adds into p.grad of every parameter

The names in ``__all__`` are public: layers, the functional API (``Input``, ``Model``), training (``fit``), files
(``load_model``, ``load_run``) and the modules ``functional``, ``losses``, ``metrics``, ``optim`` and ``init``.
``docs/api.md`` also lists the other public modules, such as :mod:`fastrnn.training` and those for text and music.
``fastrnn train`` on the command line trains a language model.
"""

from typing import TYPE_CHECKING, Any

# First, because the other imports take a third of a second in which a user may press Ctrl-C.
from ._core import early_interrupt as _early_interrupt  # noqa: F401  # isort: skip
from . import functional, init, layers, losses, metrics, optim
from ._core.precision import get_float32_matmul_precision, set_float32_matmul_precision, use_precision
from ._core.version import __version__ as __version__
from .backends import BackendUnavailable, use_backend, warn_of_missing_kernels
from .graph import Input, Model, Sequential, Symbol, load_model
from .graph.methods import TrainingMethod
from .layers import *  # noqa: F403
from .layers.description import PUBLIC
from .masks import sequence_mask
from .threads import announce_to_threadpoolctl, get_num_threads, set_num_threads

if TYPE_CHECKING:
    from .trained_run import TrainedRun, load_run
    from .training import Examples, evaluate, fit, predict

announce_to_threadpoolctl()
warn_of_missing_kernels()


def __getattr__(name: str) -> Any:
    """Import the training modules on first use, so programs that only run layers start faster."""
    if name in ("Examples", "evaluate", "fit", "predict"):
        from . import training

        return getattr(training, name)
    if name in ("TrainedRun", "load_run"):
        from . import trained_run

        return getattr(trained_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


layers.Sequential = Sequential  # type: ignore[attr-defined]  # defined in graph, and also a name of layers
TrainingMethod.find = __getattr__
PUBLIC.update({name: kind for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, layers.Layer)})


__all__ = [
    "BackendUnavailable",
    "Examples",
    "Input",
    "Model",
    "Sequential",
    "Symbol",
    "TrainedRun",
    "evaluate",
    "fit",
    "functional",
    "get_float32_matmul_precision",
    "get_num_threads",
    "init",
    "load_model",
    "load_run",
    "losses",
    "metrics",
    "optim",
    "predict",
    "sequence_mask",
    "set_float32_matmul_precision",
    "set_num_threads",
    "use_backend",
    "use_precision",
]
__all__ += layers.__all__  # all layers are names of the package
