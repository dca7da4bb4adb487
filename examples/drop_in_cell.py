"""fastrnn's cells in place of PyTorch's: single steps give the same output as the layer for the whole sequence.

Run it with ``python examples/drop_in_cell.py``. PyTorch's cells run in the same loop if PyTorch is installed.
"""

from typing import Any

import numpy as np

import fastrnn


def run(cell: Any, x: Any) -> tuple[list[Any], Any]:
    """Step ``cell``, of fastrnn or PyTorch, over ``x [T, B, I]``; return h ``[B, H]`` of each step, and the last state."""
    state, steps = None, []
    for x_t in x:
        state = cell(x_t, state)
        steps.append(state[0] if isinstance(state, tuple) else state)  # an LSTM's state is (h, c)
    return steps, state


def cell_of(layer: fastrnn.GRU | fastrnn.LSTM) -> fastrnn.GRUCell | fastrnn.LSTMCell:
    """Make a cell with the weights of a layer, whose names end in ``_l0``."""
    make = fastrnn.LSTMCell if isinstance(layer, fastrnn.LSTM) else fastrnn.GRUCell
    cell = make(layer.input_size, layer.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    return cell


def main() -> None:
    """Print the differences of cells from layers, and from PyTorch's cells."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4, 10), dtype=np.float32)
    for layer in (fastrnn.LSTM(10, 20, rng=rng), fastrnn.GRU(10, 20, rng=rng)):
        cell = cell_of(layer)
        steps, name = np.stack(run(cell, x)[0]), type(cell).__name__
        print(f"{name}: from the layer, the largest difference is", np.abs(steps - layer(x)[0]).max())
        try:
            import torch
        except ImportError:
            continue
        theirs = getattr(torch.nn, name)(10, 20)
        theirs.load_state_dict({key: torch.from_numpy(value) for key, value in cell.state_dict().items()})
        with torch.no_grad():
            difference = np.stack(run(theirs, torch.from_numpy(x))[0]) - steps
        print(f"{name}: from PyTorch's, the largest difference is", np.abs(difference).max())


if __name__ == "__main__":
    main()
