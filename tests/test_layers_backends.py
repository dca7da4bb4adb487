"""Recurrent layers on every engine against the reference, by value: stacked, in both directions, with lengths and states."""

import cases
import numpy as np
import pytest
from fast_backends import EVERY_BACKEND

import fastrnn

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
SLOW = pytest.mark.slow
MAKE = {"rnn": fastrnn.RNN, "gru": fastrnn.GRU, "lstm": fastrnn.LSTM}
EVERY_CELL = pytest.mark.parametrize("variant", range(len(cases.CELLS)), ids=[cases.name(cell) for cell in cases.CELLS])


def _layer(variant, backend, sizes, **options):
    """Return a layer of the n-th variant in cases.CELLS; a projection is two thirds of H."""
    own = {key: value for key, value in cases.CELLS[variant].items() if key != "cell"}
    if "proj_size" in own:
        own["proj_size"] = 2 * sizes[1] // 3
    return MAKE[cases.CELLS[variant]["cell"]](*sizes, backend=backend, rng=0, **own, **options)


def _run_layer(layer, T, B, lengths):
    """Return outputs and gradients of a layer by name, for random inputs that are the same for every backend."""
    rng = np.random.default_rng(1)

    def like(value):
        if isinstance(value, tuple):
            return tuple(like(part) for part in value)
        return rng.standard_normal(value.shape).astype(layer.dtype)

    x = like(np.empty((T, B, layer.input_size)))
    state = like(layer(x[:1])[1])
    (y, new_state), backward = layer.forward(x, state, lengths)
    inferred = layer(x, state, lengths)
    dx, dstate = backward(like(y), like(new_state))
    grads = {f"d{name}": parameter.grad for name, parameter in layer.named_parameters()}
    results = {"y": y, "y of inference": inferred[0], "dx": dx} | grads
    for key, value in (("state", new_state), ("state of inference", inferred[1]), ("dstate", dstate)):
        parts = value if isinstance(value, tuple) else (value,)
        results |= {f"{key} {i}": part for i, part in enumerate(parts)}
    return results


LENGTHS = (8, 3, 5, 8, 1, 2, 7, 4, 8, 6, 8, 8)


QUICK = [(2, False, False), (3, True, True)]  # one layer is in test_backends
REST = [(1, True, False), (2, False, True), (2, True, False), (3, False, True), (3, True, False), (4, True, True)]


# With T = 8 and B = 12, two threads share every pass of these sizes.
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias"),
    [
        *QUICK,
        *(pytest.param(*each, marks=SLOW) for each in REST),
    ],
)
@EVERY_CELL
def test_layers_agree_with_the_reference(every_isa, variant, num_layers, bidirectional, bias, dtype, request):
    options = {"bidirectional": bidirectional, "bias": bias, "dtype": dtype}
    wanted = _run_layer(_layer(variant, "reference", (50, 96, num_layers), **options), 8, 12, LENGTHS)
    for backend, isa in every_isa:
        for threads in (1, 2) if backend == "c" else (1,):
            if backend == "c":
                request.getfixturevalue("set_threads")(threads)
            layer = _layer(variant, backend, (50, 96, num_layers), **options)
            plans = layer.plan(8, 12)
            assert {plan.threads * plan.at_once for plan in plans} == {threads}
            assert {plan.isa for plan in plans} == {isa} or backend != "c"
            cases.assert_agree(_run_layer(layer, 8, 12, LENGTHS), wanted, TOLERANCE[dtype])


@SLOW
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("variant", [0, 2, 6], ids=["RNN", "GRU", "LSTM"])
def test_single_precision_over_128_steps(engine, variant, num_layers):
    runs = [_run_layer(_layer(variant, name, (64, 64, num_layers)), 128, 4, None) for name in (engine, "reference")]
    cases.assert_agree(*runs, 2e-5)


@EVERY_BACKEND
def test_cell_states_of_a_layer_agree_with_the_reference(backend):
    x = np.random.default_rng(0).standard_normal((6, 4, 5))
    dc = np.random.default_rng(1).standard_normal((6, 4, 14))

    def run(name):
        lstm = fastrnn.LSTM(5, 7, 2, bidirectional=True, peephole=True, dtype="float64", rng=0, backend=name)
        (_, _, c), backward = lstm.forward(x, lengths=[6, 1, 3, 5], return_cell_states=True)
        dx, _ = backward(None, None, dc)
        return {"c": c, "dx": dx} | {name: parameter.grad for name, parameter in lstm.named_parameters()}

    cases.assert_agree(run(backend), run("reference"), TOLERANCE["float64"])
