"""A custom training loop: a GRU learns to add the marked numbers of a sequence (Hochreiter & Schmidhuber 1997).

Each step has a number in [0, 1) and a mark, which is 1 at two places. The target is the sum of the two marked numbers.
Always answering 1 gives a mean squared error of 1/6; to do better the network must remember the first number.
"""

import argparse

import numpy as np

import fastrnn
from fastrnn import losses, optim


def batch(rng: np.random.Generator, T: int, B: int) -> tuple[np.ndarray, np.ndarray]:
    """Make ``x [T, B, 2]``, numbers and marks, and ``target [B, 1]``, the sums of the marked numbers."""
    x = np.zeros((T, B, 2), np.float32)
    x[:, :, 0] = rng.random((T, B))
    for b in range(B):
        x[rng.choice(T, 2, replace=False), b, 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=0)[:, None]


def train(steps: int, T: int = 20, B: int = 64, seed: int = 0) -> float:
    """Train for this number of steps, and return the mean squared error over the last tenth of them."""
    rng = np.random.default_rng(seed)
    gru = fastrnn.GRU(2, 64, rng=rng)
    head = fastrnn.Linear(64, 1, rng=rng)
    parameters = [*gru.parameters(), *head.parameters()]
    adam = optim.Adam(parameters, lr=3e-3)
    history = []
    for step in range(1, steps + 1):
        x, target = batch(rng, T, B)
        (_, h_n), gru_backward = gru.forward(x)
        prediction, head_backward = head.forward(h_n[-1])
        loss, dprediction = losses.mean_squared_error(prediction, target)
        gru_backward(None, head_backward(dprediction)[None])
        optim.clip_grad_norm(parameters, 1.0)
        adam.step()
        adam.zero_grad()
        history.append(loss)
        if step % max(1, steps // 10) == 0:
            print(f"step {step:5d}  mean squared error {np.mean(history[-steps // 10 :]):.4f}")
    return float(np.mean(history[-max(1, steps // 10) :]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="batches to train on (default: %(default)s)")
    train(parser.parse_args().steps)
