"""Gradients of states and the activity of gates, by value."""

import functools

import numpy as np
import pytest
from differences import central_differences
from tables import each_row

import fastrnn
from fastrnn import diagnostics

I, H, T, B = 3, 4, 6, 2  # noqa: E741

LAYERS = {
    "rnn": lambda **options: fastrnn.RNN(I, H, **options),
    "relu": lambda **options: fastrnn.RNN(I, H, nonlinearity="relu", **options),
    "gru": lambda **options: fastrnn.GRU(I, H, **options),
    "gru reset before": lambda **options: fastrnn.GRU(I, H, reset_after=False, **options),
    "gru without reset": lambda **options: fastrnn.GRU(I, H, reset_gate=False, **options),
    "lstm": lambda **options: fastrnn.LSTM(I, H, **options),
    "lstm peephole": lambda **options: fastrnn.LSTM(I, H, peephole=True, **options),
    "lstm projection": lambda **options: fastrnn.LSTM(I, H, proj_size=3, **options),
}


def _problem(kind, num_layers=1, dtype="float64"):
    layer = LAYERS[kind](num_layers=num_layers, dtype=dtype, rng=0)
    for parameter in layer.parameters():
        parameter.assign(parameter.data * 1.5)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(T, B, I)).astype(dtype)
    return layer, x, rng.normal(size=layer(x)[0].shape)


def _states(layer, x):
    """Return the state after each step."""
    states, state = [], None
    for t in range(T):
        _, state = layer(x[t : t + 1], state)
        states.append(state)
    return states


@each_row("kind", LAYERS)
def test_gradients_of_h_by_finite_differences(kind):
    layer, x, dy = _problem(kind)
    (gradients,) = diagnostics.state_gradients(layer, x, dy)
    states = _states(layer, x)
    lstm = layer.cell == "lstm"

    def loss(t, h):
        """Return the loss as a function of h after step t, with c unchanged."""
        total = float((dy[t] * h).sum())
        if t + 1 < T:
            y, _ = layer(x[t + 1 :], (h[None], states[t][1]) if lstm else h[None])
            total += float((dy[t + 1 :] * y).sum())
        return total

    for t in range(T):
        h = (states[t][0] if lstm else states[t])[0].copy()
        expected = central_differences(functools.partial(loss, t, h), h)
        assert gradients["h"][t] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind.startswith("lstm")])
def test_gradients_of_c_by_finite_differences(kind):
    layer, x, dy = _problem(kind)
    (gradients,) = diagnostics.state_gradients(layer, x, dy)
    states = _states(layer, x)
    activity = diagnostics.gates(layer, x)[0]
    w_o = layer.weight_ch_l0.data[2 * H :] if kind.endswith("peephole") else 0

    def loss(t, c):
        """Return the loss as a function of c after step t, from which h_t is made."""
        o = activity["o"][t]
        a_o = np.log(o / (1 - o)) + w_o * (c - activity["c"][t])
        h = np.tanh(c) / (1 + np.exp(-a_o))
        if kind.endswith("projection"):
            h = h @ layer.weight_hr_l0.data.T
        total = float((dy[t] * h).sum())
        if t + 1 < T:
            y, _ = layer(x[t + 1 :], (h[None], c[None]))
            total += float((dy[t + 1 :] * y).sum())
        return total

    for t in range(T):
        c = states[t][1][0].copy()
        expected = central_differences(functools.partial(loss, t, c), c)
        assert gradients["c"][t] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_gradients_of_deep_layers_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    layer, x, dy = _problem(kind, num_layers=3)
    cell = {"rnn": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[kind]
    cells = []
    for number in range(3):
        cells.append(cell(I if number == 0 else H, H).double())
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cells[-1].load_state_dict(
            {name: torch.from_numpy(getattr(layer, f"{name}_l{number}").data.copy()) for name in names}
        )
    kept = [{"h": [], "c": []} for _ in range(3)]
    states, loss = [None] * 3, 0
    for t in range(T):
        inputs = torch.from_numpy(x[t])
        for number, one in enumerate(cells):
            states[number] = one(inputs, states[number])
            parts = states[number] if kind == "lstm" else (states[number],)
            for name, part in zip("hc", parts, strict=False):
                part.retain_grad()
                kept[number][name].append(part)
            inputs = parts[0]
        loss = loss + (torch.from_numpy(dy[t]) * inputs).sum()
    loss.backward()
    gradients = diagnostics.state_gradients(layer, x, dy)
    for number in range(3):
        for name in gradients[number]:
            expected = np.stack([part.grad.numpy() for part in kept[number][name]])
            np.testing.assert_allclose(gradients[number][name], expected, rtol=0, atol=1e-12)


@each_row("kind", LAYERS)
def test_gates_make_the_states(kind):
    layer, x, _ = _problem(kind, num_layers=2)
    activity = diagnostics.gates(layer, x)
    y, _ = layer(x)
    np.testing.assert_allclose(activity[-1]["h"], y, rtol=0, atol=1e-12)
    for a in activity:
        before = np.concatenate([np.zeros_like(a["h"][:1]), a["h"][:-1]])
        if layer.cell == "gru":
            np.testing.assert_allclose(a["h"], (1 - a["z"]) * a["n"] + a["z"] * before, rtol=0, atol=1e-12)
            assert ("r" in a) == (kind != "gru without reset")
        if layer.cell == "lstm":
            c_before = np.concatenate([np.zeros_like(a["c"][:1]), a["c"][:-1]])
            np.testing.assert_allclose(a["c"], a["f"] * c_before + a["i"] * a["g"], rtol=0, atol=1e-12)
    if kind == "gru":
        a, W, R = activity[0], layer.weight_ih_l0.data, layer.weight_hh_l0.data
        b = layer.bias_ih_l0.data + layer.bias_hh_l0.data
        before = np.concatenate([np.zeros_like(a["h"][:1]), a["h"][:-1]])
        sums = (x @ W.T + before @ R.T + b)[..., : 2 * H]
        np.testing.assert_allclose(np.concatenate([a["r"], a["z"]], axis=2), 1 / (1 + np.exp(-sums)), rtol=0, atol=1e-12)


def test_ids_and_batch_first_and_float32():
    ids = np.array([[0, 2], [1, -1], [2, 0]])
    layer = fastrnn.GRU(I, H, rng=0, dtype="float32")
    x = np.where(ids[..., None] >= 0, np.eye(I)[ids], 0).astype(np.float32)
    dy = np.random.default_rng(0).normal(size=(3, 2, H))
    by_ids, by_x = (diagnostics.state_gradients(layer, given, dy)[0]["h"] for given in (ids, x))
    np.testing.assert_allclose(by_ids, by_x, rtol=0, atol=1e-12)
    first = fastrnn.GRU(I, H, rng=0, dtype="float32", batch_first=True)
    swapped = np.ascontiguousarray(x.swapaxes(0, 1))
    np.testing.assert_array_equal(diagnostics.gates(first, swapped)[0]["z"], diagnostics.gates(layer, x)[0]["z"])
    for steps in (2, 3):  # with T = B, nothing but the values would tell the axes apart
        mine = diagnostics.state_gradients(first, swapped[:, :steps], dy[:steps].swapaxes(0, 1))
        expected = diagnostics.state_gradients(layer, x[:steps], dy[:steps])
        np.testing.assert_array_equal(mine[0]["h"], expected[0]["h"])


def test_a_layer_is_left_alone():
    layer, x, dy = _problem("lstm")
    diagnostics.state_gradients(layer, x, dy)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in layer.parameters())


def test_bad_arguments():
    layer, x, dy = _problem("rnn")
    with pytest.raises(ValueError, match=r"dy must have the shape of y, \(6, 2, 4\), got \(5, 2, 4\)"):
        diagnostics.state_gradients(layer, x, dy[1:])
    with pytest.raises(ValueError, match="one direction"):
        diagnostics.gates(fastrnn.GRU(I, H, bidirectional=True), x.astype(np.float32))
    with pytest.raises(TypeError, match="recurrent must be an RNN, GRU or LSTM, got"):
        diagnostics.gates(fastrnn.Linear(I, H), x)
    with pytest.raises(ValueError, match="x must"):
        diagnostics.gates(layer, x[..., :2])
