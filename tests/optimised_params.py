"""Parameters, gradients and options for tests of optimisers and clipping."""

import numpy as np
from tables import each_row

from fastrnn._core.parameter import Parameter

SHAPES = {"weight": (5, 3), "bias": (4,), "scalar": (), "long": (2500,), "weight_hh_l0": (6, 2)}
OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5}),
    ("RMSprop", {"momentum": 0.7}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.7, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}),
    ("Adam", {"weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.3}),
]
EVERY_DTYPE = each_row("dtype", ["float32", "float64"])


def make_params(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(name, rng.standard_normal(shape).astype(dtype)) for name, shape in SHAPES.items()]


def set_gradients(params, seed):
    rng = np.random.default_rng(seed)
    for param in params:
        param.gradient()[...] = rng.standard_normal(param.shape)
