"""RNN, GRU and LSTM for JAX on fastrnn's kernels: pure functions under ``jit``, ``grad``, ``vmap`` and ``scan``.

See docs/jax.md.
"""

try:
    import jax as _jax  # noqa: F401
except ImportError as error:
    raise ImportError('fastrnn.jax needs JAX: pip install "fastrnn[jax]"') from error

from ._ffi import register
from ._functions import gru, lstm, rnn

register()  # programs that another process exported call the handlers by name

__all__ = ["gru", "lstm", "rnn"]
