"""A fastrnn layer in place of PyTorch's: the same weights give the same output, at once or streamed step by step.

Run it with ``python examples/drop_in.py``. It compares with PyTorch if this is installed.
"""

import numpy as np

import fastrnn


def stream(gru: fastrnn.GRU, x: np.ndarray) -> np.ndarray:
    """Run one time step at a time, passing the state on: y is the same as for the whole sequence at once."""
    state, steps = None, []
    for x_t in x:
        y, state = gru(x_t[None], state)
        steps.append(y)
    return np.concatenate(steps)


def fed_to_a_stepper(gru: fastrnn.GRU, x: np.ndarray) -> np.ndarray:
    """Run one sequence ``x [T,I]`` step by step with a stepper, which stores the state; this is the fastest way."""
    step = gru.stepper()
    return np.stack([step(x_t) for x_t in x])


def main() -> None:
    """Print the differences between the ways to run a layer, and from PyTorch."""
    rng = np.random.default_rng(0)
    gru = fastrnn.GRU(input_size=10, hidden_size=20, num_layers=2, rng=rng)
    x = rng.standard_normal((50, 4, 10), dtype=np.float32)
    lengths = np.array([50, 7, 33, 50])
    y, h_n = gru(x, lengths=lengths)
    print("what runs:", gru.plan(T=50, B=4)[0])
    print("past its length a sequence's y is zero:", not y[7:, 1].any())
    print("its last state is that at its own end:", np.array_equal(h_n[-1, 1], y[6, 1]))
    print("streamed, the largest difference is", np.abs(stream(gru, x) - gru(x)[0]).max())
    print("fed to a stepper, it is", np.abs(fed_to_a_stepper(gru, x[:, 0]) - gru(x[:, 0])[0]).max())
    try:
        import torch
    except ImportError:
        return
    theirs = torch.nn.GRU(10, 20, 2)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in gru.state_dict().items()})
    difference = theirs(torch.from_numpy(x))[0].detach().numpy() - gru(x)[0]
    print("from PyTorch, the largest difference is", np.abs(difference).max())


if __name__ == "__main__":
    main()
