"""The reference backend compared with PyTorch in float64: torch.nn's layers, and the papers' equations by autograd."""

from dataclasses import replace

import cases
import numpy as np
import pytest
from tables import each_row

torch = pytest.importorskip("torch")

OF_TORCH = [
    variant
    for variant in cases.CELLS
    if not variant.get("peephole") and variant.get("reset_after", True) and variant.get("reset_gate", True)
]
EVERY_OPTION = pytest.mark.parametrize("options", cases.OPTIONS, ids=cases.name)


def _leaf(array):
    return None if array is None else torch.tensor(array, requires_grad=True)


def _input(case, leaves):
    """Return x as a tensor with zeros past the lengths; it requires gradients unless it holds token ids."""
    if case.x.ndim == 2:
        I = case.spec.input_size  # noqa: E741
        return torch.tensor(np.vstack([np.eye(I), np.zeros(I)])[case.x])
    leaves["x"] = _leaf(np.nan_to_num(case.x))
    return leaves["x"]


def _results(case, outputs, leaves):
    """Return the outputs, and the gradients of the sum of each output times its incoming gradient for the leaves."""
    pairs = [(value, np.nan_to_num(getattr(case, "d" + key))) for key, value in outputs.items()]
    sum((value * torch.tensor(grad)).sum() for value, grad in pairs).backward()
    gradients = {"d" + key: leaf.grad for key, leaf in leaves.items()}
    return {key: value.detach().numpy() for key, value in (outputs | gradients).items()}


def run_torch(case):
    """Run a case without ``dc`` in torch.nn: lengths as a packed sequence, reverse as the second direction of two."""
    spec = case.spec
    size = {"proj_size": spec.proj_size} if spec.cell == "lstm" else {}
    size |= {"nonlinearity": spec.nonlinearity} if spec.cell == "rnn" else {}
    kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[spec.cell]
    options = {"bias": case.params.b_ih is not None, "bidirectional": case.reverse, "dtype": torch.float64}
    module = kind(spec.input_size, spec.hidden_size, **size, **options)
    suffix = "_l0_reverse" if case.reverse else "_l0"
    names = {"W": "weight_ih", "R": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "projection": "weight_hr"}
    leaves = {key: getattr(module, names[key] + suffix) for key, _ in case.params.items()}
    with torch.no_grad():
        for key, array in case.params.items():
            leaves[key].copy_(torch.tensor(array))
    x = _input(case, leaves)
    leaves["h0"] = _leaf(case.h0)
    states = [leaves["h0"]]
    if spec.cell == "lstm":
        leaves["c0"] = _leaf(case.c0)
        states.append(leaves["c0"])
    # If ours is the second direction, the first one also runs, from zeros; its output is not used.
    stacked = [torch.stack([torch.zeros_like(s), s] if case.reverse else [s]) for s in states]
    if case.lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(case.lengths), enforce_sorted=False)
    y, state = module(x, tuple(stacked) if len(stacked) == 2 else stacked[0])
    if case.lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=len(case.x))
    outputs = {"y": y[:, :, -spec.output_size :]}
    outputs |= {"h_n": state[0][-1], "c_n": state[1][-1]} if spec.cell == "lstm" else {"h_n": state[-1]}
    return _results(case, outputs, leaves)


def rnn(spec, w, x, h, c):
    a = w["W"] @ x + w["b_ih"] + w["R"] @ h + w["b_hh"]
    return (torch.tanh(a) if spec.nonlinearity == "tanh" else torch.relu(a)), c


def gru(spec, w, x, h, c):
    """Compute a step of Cho et al. 2014 with torch's meaning of z; without a reset gate, the gates are z and n."""
    parts = [w[key].chunk(spec.gates) for key in ("W", "R", "b_ih", "b_hh")]
    gates = {name: tuple(part[k] for part in parts) for k, name in enumerate("rzn" if spec.reset_gate else "zn")}

    def gate(name):
        W, R, b_ih, b_hh = gates[name]
        return torch.sigmoid(W @ x + b_ih + R @ h + b_hh)

    W, R, b_ih, b_hh = gates["n"]
    if not spec.reset_gate:
        n = torch.tanh(W @ x + b_ih + R @ h + b_hh)
    elif spec.reset_after:
        n = torch.tanh(W @ x + b_ih + gate("r") * (R @ h + b_hh))
    else:
        n = torch.tanh(W @ x + b_ih + R @ (gate("r") * h) + b_hh)
    z = gate("z")
    return (1 - z) * n + z * h, c


def lstm(spec, w, x, h, c):
    """Compute a step of Gers et al. 2002 (peephole) and Sak et al. 2014 (projection)."""
    i, f, g, o = (w["W"] @ x + w["b_ih"] + w["R"] @ h + w["b_hh"]).chunk(4)
    if spec.peephole:
        w_i, w_f, w_o = w["peephole"].chunk(3)
        i, f = i + w_i * c, f + w_f * c
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    if spec.peephole:
        o = o + w_o * c
    h = torch.sigmoid(o) * torch.tanh(c)
    return (w["projection"] @ h if spec.proj_size else h), c


def run_autograd(case):
    """Run a case by its equations alone: one sequence and one step at a time, backward by autograd."""
    spec, (T, B) = case.spec, case.x.shape[:2]
    w = {key: _leaf(array) for key, array in case.params.items()}
    leaves = dict(w) | {"h0": _leaf(case.h0)} | ({"c0": _leaf(case.c0)} if spec.cell == "lstm" else {})
    x = _input(case, leaves)
    w = {"b_ih": torch.zeros(len(w["W"])), "b_hh": torch.zeros(len(w["W"]))} | w
    y, c = [[None] * B for _ in range(T)], [[None] * B for _ in range(T)]
    h_n, c_n = [], []
    for b in range(B):
        n = T if case.lengths is None else case.lengths[b]
        h_t, c_t = leaves["h0"][b], leaves["c0"][b] if spec.cell == "lstm" else torch.zeros(0)
        for t in range(T):
            y[t][b], c[t][b] = torch.zeros_like(h_t), torch.zeros_like(c_t)
        for t in reversed(range(n)) if case.reverse else range(n):
            h_t, c_t = {"rnn": rnn, "gru": gru, "lstm": lstm}[spec.cell](spec, w, x[t, b], h_t, c_t)
            y[t][b], c[t][b] = h_t, c_t
        h_n.append(h_t)
        c_n.append(c_t)
    outputs = {"y": torch.stack([torch.stack(row) for row in y]), "h_n": torch.stack(h_n)}
    if spec.cell == "lstm":
        outputs |= {"c_n": torch.stack(c_n), "c": torch.stack([torch.stack(row) for row in c])}
    return _results(case, outputs, leaves)


@EVERY_OPTION
@pytest.mark.parametrize("variant", OF_TORCH, ids=cases.name)
def test_torch_nn(variant, options):
    if options["lengths"]:
        options = options | {"lengths": [3, 6, 1, 5]}  # packed sequences have at least one step
    case = replace(cases.make_case(variant, T=6, B=4, I=5, H=7, seed=1, **options), dc=None)
    got = cases.run("reference", case)
    got.pop("c", None)
    cases.assert_agree(got, run_torch(case), 1e-12)


@EVERY_OPTION
@pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
def test_equations_by_autograd(variant, options):
    case = cases.make_case(variant, T=5, B=3, I=4, H=6, seed=2, **options)
    cases.assert_agree(cases.run("reference", case), run_autograd(case), 1e-12)


@each_row("variant", OF_TORCH, ids=cases.name)
def test_torch_nn_over_many_steps(variant):
    case = replace(cases.make_case(variant, T=100, B=2, I=3, H=16, lengths=True, reverse=True), dc=None)
    got = cases.run("reference", case)
    got.pop("c", None)
    cases.assert_agree(got, run_torch(case), 1e-11)
