"""An embedding before a recurrent layer: the cached table gives the same values as the layers without it."""

import copy

import cases
import numpy as np
import pytest
from tables import each_row

from fastrnn.layers import GRU, LSTM, RNN, Embedding, Sequential
from fastrnn.layers._recurrent import embedding_table as embedded
from fastrnn.text.char_model import CharModel

V, E, H, T, B = 5, 7, 6, 9, 4
LENGTHS = np.array([3, 9, 1, 7])
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
KINDS = {
    "rnn": (RNN, {}),
    "relu": (RNN, {"nonlinearity": "relu", "bias": False}),
    "gru": (GRU, {}),
    "gru before": (GRU, {"reset_after": False}),
    "gru no reset": (GRU, {"reset_gate": False}),
    "lstm": (LSTM, {}),
    "lstm projected": (LSTM, {"proj_size": 3, "peephole": True}),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def _ids(seed=0, shape=(T, B)):
    return np.random.default_rng(seed).integers(-1, V, shape)


def _pair(kind, layers=1, dtype="float64", **options):
    make, own = kind
    layer = make(E, H, layers, dtype=dtype, rng=2, **own, **options)
    return Embedding(V, E, dtype=dtype, rng=1), layer


def _without_table(monkeypatch):
    monkeypatch.setattr(embedded, "MIN_IDS_PER_ROW", float("inf"))


def _count_tables(monkeypatch):
    """Return a list with one number, which counts how often a table is used."""
    runs = [0]

    def counting(plain):
        def counted(self, *args, **options):
            runs[0] += isinstance(self.parts[0], embedded.EmbeddedPart)
            return plain(self, *args, **options)

        return counted

    for method in ("infer", "train"):
        monkeypatch.setattr(embedded.PartStack, method, counting(getattr(embedded.PartStack, method)))
    return runs


def _run(embedding, layer, ids, lengths=None):
    """Return all results of both passes, with random gradients of y and of the state."""
    for parameter in (*embedding.parameters(), *layer.parameters()):
        parameter.gradient()[...] = np.arange(parameter.size).reshape(parameter.shape) % 3  # backward adds to these values
    joint = embedded.embedded(embedding, layer)
    rng = np.random.default_rng(7)

    def like(state):
        return tuple(map(like, state)) if isinstance(state, tuple) else rng.standard_normal(state.shape).astype(state.dtype)

    (y, state), backward = joint.forward(ids, like(joint(ids, None, lengths)[1]), lengths)
    dx, dstate = backward(like(y), like(state))
    assert dx is None
    results = {"y": y, "y of inference": joint(ids, None, lengths)[0]}
    for name, value in (("state", state), ("dstate", dstate)):
        results |= {f"{name} {i}": part for i, part in enumerate(value if isinstance(value, tuple) else (value,))}
    results["demb"] = embedding.weight.grad.copy()
    return results | {f"d{name}": parameter.grad.copy() for name, parameter in layer.named_parameters()}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("options", "lengths"),
    [({}, None), ({"layers": 2, "bidirectional": True, "batch_first": True}, LENGTHS)],
    ids=["plain", "options"],
)
def test_the_table_changes_no_value(engine, kind, options, lengths, dtype, monkeypatch):
    ids = _ids(shape=(B, T) if options else (T, B))
    pair = _pair(kind, dtype=dtype, backend=engine, **options)
    runs = _count_tables(monkeypatch)
    got = _run(*pair, ids, lengths)
    assert runs[0] == 3
    _without_table(monkeypatch)
    cases.assert_agree(got, _run(*_pair(kind, dtype=dtype, backend="reference", **options), ids, lengths), TOLERANCE[dtype])
    assert runs[0] == 3


def test_threads_change_no_bit(c, set_threads):
    rng = np.random.default_rng(0)
    ids, dy = rng.integers(-1, 33, (24, 32)), rng.standard_normal((24, 32, 33)).astype(np.float32)
    wanted = None
    for threads in (1, 2, 3):
        set_threads(threads)
        model = CharModel(33, "lstm", 2, 96, 80, rng=0, backend="c")
        (logits, _), backward = model.forward(ids)
        backward(dy)
        got = [logits, *(parameter.grad for parameter in model.parameters())]
        wanted = wanted or got
        for value, one in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(value, one)


def test_one_sequence_without_a_batch(kind, monkeypatch):
    ids = _ids(shape=(4 * V,))
    runs = _count_tables(monkeypatch)
    got = _run(*_pair(kind), ids)
    assert runs[0] == 3
    _without_table(monkeypatch)
    cases.assert_agree(got, _run(*_pair(kind), ids), 1e-12)


def test_few_tokens_are_looked_up_one_by_one(monkeypatch):
    runs = _count_tables(monkeypatch)
    model = Sequential(*_pair(KINDS["gru"]))
    ids = np.zeros((4, V), int)
    model(ids[:, 1:])
    assert runs[0] == 0
    model(ids)
    assert runs[0] == 1


def test_a_table_is_kept_until_a_parameter_changes(monkeypatch):
    model, ids = Sequential(*_pair(KINDS["lstm"])), _ids()
    embedding, layer = model.layers
    y = model(ids)
    made = layer._embedded._stack._prepared
    np.testing.assert_array_equal(model(ids), y)
    assert layer._embedded._stack._prepared is made
    for parameter in (embedding.weight, layer.weight_ih_l0, layer.bias_hh_l0):
        parameter.writable()[0] += 1
        got = model(ids)
        assert abs(got - y).max() > 1e-3, parameter.name
        y = got
        np.testing.assert_allclose(y, layer(embedding(ids))[0], rtol=0, atol=1e-13)
    model.layers[0] = Embedding(V, E, dtype="float64", rng=9)
    np.testing.assert_allclose(model(ids), layer(model.layers[0](ids))[0], rtol=0, atol=1e-13)


def test_a_copy_has_a_table_of_its_own():
    model, ids = CharModel(V, "gru", 1, H, E, dtype="float64", rng=0), _ids()
    y = model(ids)[0]
    other = copy.deepcopy(model)
    other.embedding.weight.assign(np.zeros((V, E)))
    np.testing.assert_array_equal(model(ids)[0], y)
    (zero, _), backward = other.forward(np.full_like(ids, -1))
    np.testing.assert_allclose(other(ids)[0], zero, rtol=0, atol=1e-13)
    backward(np.ones_like(zero))
    assert model.embedding.weight.grad is None


def test_a_changed_embedding_is_found_before_backward():
    embedding, layer = _pair(KINDS["lstm"])
    (y, _), backward = embedded.embedded(embedding, layer).forward(_ids())
    embedding.weight.assign(np.zeros((V, E)))
    with pytest.raises(RuntimeError, match="weight has changed since the forward pass"):
        backward(np.ones_like(y))
    assert layer.weight_ih_l0.grad is None


def test_an_embedding_of_somebody_else_is_run_as_it_is():
    class Doubled(Embedding):
        def __call__(self, x):
            return 2 * super().__call__(x)

    _, layer = _pair(KINDS["gru"])
    doubled = Doubled(V, E, dtype="float64", rng=1)
    np.testing.assert_array_equal(Sequential(doubled, layer)(_ids()), layer(doubled(_ids()))[0])


@each_row("x", [np.full((T, B), V), np.full((T, B), -2), np.zeros((T, B, 2), int), np.zeros((T, B))])
def test_bad_ids_are_also_refused_with_a_table(x):
    with pytest.raises((TypeError, ValueError), match=r"x must (hold|be)"):
        Sequential(*_pair(KINDS["rnn"]))(x)
