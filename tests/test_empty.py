"""Batches without sequences and sequences without steps have the right values and gradients everywhere."""

import functools
from dataclasses import replace

import cases
import numpy as np
import pytest
from differences import flat as leaves
from tables import each_row

import fastrnn
from fastrnn import Examples, Input, Model, diagnostics, layers, losses, metrics
from fastrnn.layers._recurrent.cell_layers import RecurrentCell
from fastrnn.text.char_model import CharModel

EVERY_CELL = pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
F64 = {"dtype": "float64"}
KINDS = {"rnn": layers.RNN, "gru": layers.GRU, "lstm": layers.LSTM}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# The kernels.


@EVERY_CELL
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_of_no_steps_keeps_its_state_and_leaves_the_others_alone(engine, variant, reverse):
    lengths = [0, 5, 0, 2, 0]
    case = cases.make_case(variant, 6, 5, 4, 7, lengths=lengths, reverse=reverse, padding=np.nan)
    got, inference = cases.run(engine, case), cases.forward(engine, case, keep_tape=False)
    for b in (0, 2, 4):
        assert not got["y"][:, b].any()
        assert not got["dx"][:, b].any()
        for state in ("h", "c") if case.c0 is not None else ("h",):
            initial, gradient = getattr(case, f"{state}0"), getattr(case, f"d{state}_n")
            np.testing.assert_array_equal(got[f"{state}_n"][b], initial[b])
            np.testing.assert_array_equal(getattr(inference, f"{state}_n")[b], initial[b])
            np.testing.assert_array_equal(got[f"d{state}0"][b], gradient[b])
    kept = [1, 3]
    halves = {key: getattr(case, key) for key in ("h0", "c0", "dh_n", "dc_n")}
    halves = {key: None if value is None else value[kept] for key, value in halves.items()}
    over_time = {key: getattr(case, key) for key in ("x", "dy", "dc")}
    over_time = {key: None if value is None else value[:, kept].copy() for key, value in over_time.items()}
    alone = cases.run(engine, replace(case, lengths=case.lengths[kept], **halves, **over_time))
    columns = {"y": 1, "c": 1, "dx": 1, "h_n": 0, "c_n": 0, "dh0": 0, "dc0": 0}
    some = {key: np.take(value, kept, columns[key]) if key in columns else value for key, value in got.items()}
    cases.assert_agree(some, alone, 1e-13)


@EVERY_CELL
@pytest.mark.parametrize("ids", [False, True])
def test_nothing_at_all_gives_states_back_and_adds_nothing(engine, variant, ids):
    nothing = cases.make_case(variant, 3, 0, 4, 7, ids=ids)
    empty = cases.make_case(variant, 3, 4, 4, 7, ids=ids, lengths=[0] * 4, padding=np.nan)
    for case in (nothing, empty, replace(empty, h0=None, c0=None, dh_n=None, dc_n=None), replace(empty, reverse=True)):
        cases.assert_agree(cases.run(engine, case), cases.run("reference", case), 0)
        for key, value in cases.run(engine, case).items():
            expected = {"h_n": case.h0, "c_n": case.c0, "dh0": case.dh_n, "dc0": case.dc_n}.get(key)
            np.testing.assert_array_equal(value, np.zeros_like(value) if expected is None else expected, err_msg=key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacks_and_both_directions_on_any_number_of_threads(set_threads, kind, bidirectional):
    """The sizes are split over the batch and over hidden units; one thread gives the same bits."""
    spec = cases.make_case({"cell": kind}, 1, 1, 7, 200).spec
    assert cases.planned(spec, 5, 3, False, threads=2)[0] == "hidden"
    assert cases.planned(replace(spec, hidden_size=40), 12, 33, False, threads=2)[0] == "batch"
    for T, B, H, lengths in ((12, 33, 40, True), (5, 3, 200, True), (3, 9, 40, False), (12, 33, 40, None)):
        drawn = np.random.default_rng(1).integers(0, T, B) * bool(lengths)
        drawn[:2] = 0
        layer = KINDS[kind](7, H, 2, bidirectional=bidirectional, rng=0, backend="c", **F64)
        theirs = KINDS[kind](7, H, 2, bidirectional=bidirectional, rng=0, backend="reference", **F64)
        x = normal(T, 0 if lengths is None else B, 7)
        h = normal(len(layer.all_weights), x.shape[1], H, seed=2)
        arguments = x, (h, h[::-1].copy()) if kind == "lstm" else h, None if lengths is None else drawn
        results = []
        for threads, owner in ((1, layer), (2, layer), (3, layer), (1, theirs)):
            set_threads(threads)
            owner.zero_grad()
            outputs, backward = owner.forward(*arguments)
            gradients = backward(*outputs)
            results.append(leaves((outputs, owner(*arguments), gradients, tuple(p.grad for p in owner.parameters()))))
        for got in results[1:3]:
            for a, b in zip(got, results[0], strict=True):
                np.testing.assert_array_equal(a, b)
        for a, b in zip(results[0], results[3], strict=True):
            assert cases.relative_error(a, b) < 1e-11


def test_a_language_models_step_takes_sequences_of_no_steps(engine):
    ids, targets = np.array([[1, 2, 0], [3, -1, 1]]), np.array([[2, 2, 0], [1, 0, 1]])
    for lengths in ([2, 0, 1], [0, 0, 0]):
        model = CharModel(4, "lstm", 2, 6, dtype="float64", rng=0, backend=engine)
        state = normal(2, 3, 6), normal(2, 3, 6, seed=1)
        counted = np.where(fastrnn.sequence_mask(lengths, 2), targets, -100)
        loss, final = model.learn(ids, counted, state, lengths)
        learnt = [p.grad.copy() for p in model.parameters()]
        model.zero_grad()
        (logits, wanted), backward = model.forward(ids, state, lengths)
        value, dlogits = losses.softmax_cross_entropy(logits, counted)
        backward(dlogits)
        assert loss == value
        for got, expected in zip(
            [*leaves(final), *learnt], [*leaves(wanted), *(p.grad for p in model.parameters())], strict=True
        ):
            np.testing.assert_array_equal(got, expected)
        if not any(lengths):
            assert loss == 0
            np.testing.assert_array_equal(final[0], state[0])
            assert not any(gradient.any() for gradient in learnt)


# Every layer on a batch without sequences.

T, I, H, V = 4, 3, 5, 7  # noqa: E741
X, X0, IDS, IDS0 = np.zeros((T, 0, I)), np.zeros((0, I)), np.zeros((T, 0), int), np.zeros(0, int)
LAYERS = {
    "RNN": (lambda: layers.RNN(I, H, **F64), X, (T, 0, H)),
    "GRU of ids": (lambda: layers.GRU(V, H, **F64), IDS, (T, 0, H)),
    "GRU reset before": (lambda: layers.GRU(I, H, reset_after=False, **F64), X, (T, 0, H)),
    "GRU without reset": (lambda: layers.GRU(I, H, reset_gate=False, **F64), X, (T, 0, H)),
    "LSTM": (lambda: layers.LSTM(I, H, 2, bidirectional=True, **F64), X, (T, 0, 2 * H)),
    "LSTM batch first": (lambda: layers.LSTM(I, H, batch_first=True, **F64), X.swapaxes(0, 1), (0, T, H)),
    "LSTM projected": (lambda: layers.LSTM(I, H, proj_size=2, peephole=True, **F64), X, (T, 0, 2)),
    "GRU dropped": (lambda: layers.GRU(I, H, 2, dropout=0.5, input_dropout=0.5, recurrent_dropout=0.5, **F64), X, (T, 0, H)),
    **{
        f"GRU {merge}": (functools.partial(layers.GRU, I, H, bidirectional=True, merge=merge, **F64), X, (T, 0, H))
        for merge in ("sum", "mul", "average")
    },
    "RNNCell": (lambda: layers.RNNCell(I, H, **F64), X0, (0, H)),
    "GRUCell of ids": (lambda: layers.GRUCell(V, H, **F64), IDS0, (0, H)),
    "LSTMCell": (lambda: layers.LSTMCell(I, H, **F64), X0, (0, H)),
    "Linear": (lambda: layers.Linear(I, H, **F64), X, (T, 0, H)),
    "Linear of rows": (lambda: layers.Linear(I, H, **F64), X0, (0, H)),
    "Embedding": (lambda: layers.Embedding(V, H, **F64), IDS, (T, 0, H)),
    "OneHot": (lambda: layers.OneHot(V, **F64), IDS, (T, 0, V)),
    "LayerNorm": (lambda: layers.LayerNorm(I, **F64), X, (T, 0, I)),
    **{f"Activation {f}": (functools.partial(layers.Activation, f), X, X.shape) for f in ("tanh", "softmax", "gelu_tanh")},
    "Activation of numbers": (lambda: layers.Activation("relu"), np.zeros(0), (0,)),
    "Dropout": (lambda: layers.Dropout(0.5), X, X.shape),
    "VariationalDropout": (lambda: layers.VariationalDropout(0.5), X, X.shape),
    "TokenDropout": (lambda: layers.TokenDropout(0.5, 0), IDS, IDS.shape),
    **{kind.__name__: (kind, X, (0, I)) for kind in (layers.Last, layers.MeanPool, layers.MaxPool)},
    "RepeatVector": (lambda: layers.RepeatVector(6), X0, (6, 0, I)),
    "Concat": (layers.Concat, (X, X), (T, 0, 2 * I)),
    **{kind.__name__: (kind, (X, X), X.shape) for kind in (layers.Add, layers.Multiply, layers.Average)},
    "Lambda": (lambda: layers.Lambda(np.sin, lambda dy, x: dy * np.cos(x), pointwise=True), X, X.shape),
    "Sequential": (lambda: layers.Sequential(layers.Embedding(V, I, **F64), layers.GRU(I, H, **F64)), IDS, (T, 0, H)),
    "Sequential to one": (lambda: layers.Sequential(layers.LSTM(I, H, **F64), layers.Last()), X, (0, H)),
}


@each_row("name", LAYERS)
def test_a_batch_of_no_sequences(name, engine):
    make, x, shape = LAYERS[name]
    with fastrnn.use_backend(engine):
        layer, inputs = make(), x if isinstance(x, tuple) else (x,)
        assert leaves((layer(*inputs),))[0].shape == shape
        outputs, backward = layer.forward(*inputs)
        y = leaves((outputs,))[0]
        assert (y.shape, y.dtype.kind) == (shape, "i" if name == "TokenDropout" else "f")
        gradients = backward(outputs if getattr(layer, "one_gradient", False) else y)
    recurrent = isinstance(layer, (layers.RNN, layers.GRU, layers.LSTM, RecurrentCell))
    found = gradients[:1] if recurrent else leaves((gradients,))
    for dx, given in zip(found, inputs, strict=True):
        assert dx is None if given.dtype.kind == "i" else dx.shape == given.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def test_torch_does_the_same():
    torch = pytest.importorskip("torch")
    from fastrnn import torch as interop

    for kind, sizes in (("RNN", (I, H)), ("GRU", (I, H, 2)), ("LSTM", (I, H)), ("Linear", (I, H)), ("LSTMCell", (I, H))):
        theirs = getattr(torch.nn, kind)(*sizes, dtype=torch.float64)
        ours = interop.from_torch(theirs)
        x = X0 if kind == "LSTMCell" else X
        wanted, got = leaves((theirs(torch.from_numpy(x)),)), leaves((ours(x),))
        assert [tuple(a.shape) for a in got] == [tuple(a.shape) for a in wanted]
        if kind in ("RNN", "GRU", "LSTM"):
            with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
                theirs(torch.zeros(0, 2, I, dtype=torch.float64))
            with pytest.raises(
                ValueError,
                match=r"x must have at least one time step, got .*\(0, 2, 3\): for sequences without steps use lengths of 0",
            ):
                ours(np.zeros((0, 2, I)))


# Pooling.


@pytest.mark.parametrize("kind", [layers.Last, layers.MeanPool, layers.MaxPool])
def test_pooling_no_steps_gives_zero_and_no_gradient(kind):
    x, lengths = normal(4, 3, 2), [2, 0, 4]
    x[0, 1], x[2:, 0] = np.nan, np.inf  # past the lengths
    y, backward = kind().forward(x, lengths)
    wanted = {
        layers.Last: [x[1, 0], x[3, 2]],
        layers.MeanPool: [x[:2, 0].mean(axis=0), x[:, 2].mean(axis=0)],
        layers.MaxPool: [x[:2, 0].max(axis=0), x[:, 2].max(axis=0)],
    }[kind]
    np.testing.assert_allclose(y[[0, 2]], wanted, rtol=1e-15)
    assert not y[1].any()
    dx = backward(np.ones((3, 2)))
    assert not dx[:, 1].any()
    np.testing.assert_allclose(dx.sum(axis=0)[[0, 2]], 1)
    y, backward = kind().forward(x, [0, 0, 0])
    assert not y.any()
    assert not backward(np.ones((3, 2))).any()


@pytest.mark.parametrize("make", [lambda: layers.Last(), lambda: layers.MeanPool(), lambda: layers.MaxPool()])
def test_a_stream_goes_on_without_the_sequences_that_have_ended(make):
    """The stream comes in chunks of 3 steps. A sequence has 0 steps in a chunk in which it has ended or not yet begun."""
    symbol = Input(("T", "B", 2), **F64)
    y, h = layers.GRU(2, 3, rng=0, **F64)(symbol)
    model = Model(symbol, (make()(y), h))
    x, lengths = normal(9, 4, 2) - 3, np.array([9, 2, 0, 4])
    state = None
    for first in range(0, 9, 3):
        outputs, state = model.stream(x[first : first + 3], state=state, lengths=np.clip(lengths - first, 0, 3))
    for got, wanted in zip(outputs, model(x, lengths=lengths), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-14)


# Graphs.


def _logarithm():
    def function(x):
        return np.log(x)

    return layers.Lambda(function, lambda dy, x: dy / x, pointwise=True)


@pytest.mark.parametrize("lengths", [[3, 0, 4, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("form", ["graph", "chain"])
def test_padding_of_no_steps_reaches_nothing(form, lengths):
    def chain():
        return [_logarithm(), layers.LayerNorm(3, **F64), layers.Linear(3, 3, rng=1, **F64), layers.GRU(3, 4, rng=0, **F64)]

    if form == "chain":
        model = layers.Sequential(*chain(), layers.Linear(4, 2, rng=2, **F64))
    else:
        symbol = value = Input(("T", "B", 3), **F64)
        for layer in chain():
            value = layer(value)
        model = Model(symbol, layers.Linear(4, 2, rng=2, **F64)(value[0]))
    x = np.exp(normal(4, 4, 3))
    x[~fastrnn.sequence_mask(lengths, 4)] = np.nan
    y, backward = model.forward(x, lengths=lengths)
    dx = backward(np.where(fastrnn.sequence_mask(lengths, 4)[..., None], y, np.nan))
    gradients = [p.grad.copy() for p in model.parameters()]
    for array in (y, dx):
        assert not array[~fastrnn.sequence_mask(lengths, 4)].any()
    model.zero_grad()
    longer = np.flatnonzero(lengths)  # if empty, the batch below has no sequence, and its gradients are 0
    alone, backward = model.forward(x[:, longer], lengths=np.array(lengths)[longer])
    np.testing.assert_allclose(y[:, longer], alone, rtol=1e-13)
    np.testing.assert_allclose(dx[:, longer], backward(alone), rtol=1e-11, atol=1e-14)
    for got, parameter in zip(gradients, model.parameters(), strict=True):
        np.testing.assert_allclose(got, parameter.grad, rtol=1e-10, atol=1e-13)


def test_a_model_takes_a_batch_of_no_sequences():
    source, features = Input(("S", "B"), "int64"), Input(("B", 2), **F64)
    _, h = layers.GRU(3, 4, **F64)(layers.Embedding(5, 3, **F64)(source))
    first = layers.Lambda(lambda h: h[0], lambda dy, h: dy[None])(h)
    model = Model((source, features), layers.Linear(6, 2, **F64)(layers.Concat()(first, features)))
    outputs, backward = model.forward(np.zeros((3, 0), int), np.zeros((0, 2)), lengths=[])
    assert outputs.shape == (0, 2)
    none, dfeatures = backward(outputs)
    assert (none, dfeatures.shape) == (None, (0, 2))
    assert not any(p.grad.any() for p in model.parameters())
    with pytest.raises(ValueError, match=r"no axis but B may be 0 long"):
        model(np.zeros((0, 2), int), np.zeros((2, 2)))


def test_diagnostics_of_no_sequences():
    layer = layers.LSTM(I, H, 2, **F64)
    assert [a["c"].shape for a in diagnostics.gates(layer, X)] == [(T, 0, H)] * 2
    assert [g["h"].shape for g in diagnostics.state_gradients(layer, X, np.zeros((T, 0, H)))] == [(T, 0, H)] * 2


# Losses, metrics, examples.


@each_row("dtype", ["float32", "float64"])
def test_losses_of_nothing_are_zero_and_metrics_nan(engine, dtype):
    with fastrnn.use_backend(engine):
        for shape in ((4, 0, 3), (0, 3)):
            logits, ids = np.zeros(shape, dtype), np.zeros(shape[:-1], int)
            for reduction in ("mean", "sum"):
                for loss, targets in (
                    (losses.softmax_cross_entropy, ids),
                    (losses.sigmoid_binary_cross_entropy, logits),
                    (losses.mean_squared_error, logits),
                ):
                    for mask in (None, np.zeros(shape[:-1], bool)):
                        value, gradient = loss(logits, targets, mask=mask, reduction=reduction)
                        assert value == 0
                        assert (gradient.shape, gradient.dtype) == (shape, dtype)
            assert np.isnan([metrics.accuracy(logits, ids), metrics.mean_absolute_error(logits, logits)]).all()


def _tagger():
    return layers.Sequential(layers.Embedding(4, 5, rng=0), layers.GRU(5, 6, rng=1), layers.Linear(6, 3, rng=2))


SEQUENCES, CLASSES = [[], [1, 2, 3], [0], [], [3, 3]], [[], [0, 1, 2], [1], [], [2, 0]]


def test_examples_of_no_steps_are_padded_and_masked():
    examples = Examples(SEQUENCES, CLASSES)
    assert repr(examples) == "Examples(5: int64 [T=0..3] -> int64 [T=0..3])"
    batch = examples.batch([0, 1, 4])
    np.testing.assert_array_equal(batch.inputs[0], [[-1, 1, 3], [-1, 2, 3], [-1, 3, -1]])
    np.testing.assert_array_equal(batch.targets, [[-100, 0, 2], [-100, 1, 0], [-100, 2, -100]])
    np.testing.assert_array_equal(batch.mask, [[False, True, True], [False, True, True], [False, True, False]])
    assert batch.lengths.tolist() == [0, 3, 2]
    for indices, B in (([0, 3], 2), ([], 0)):
        batch = examples.batch(indices)
        np.testing.assert_array_equal(batch.inputs[0], np.full((1, B), -1))
        np.testing.assert_array_equal(batch.mask, np.zeros((1, B), bool))
        assert batch.lengths.tolist() == [0] * B
        assert losses.softmax_cross_entropy(_tagger()(batch.inputs[0], batch.lengths), batch.targets)[0] == 0
    vectors = Examples([np.zeros((0, 2)), np.ones((3, 2)), []], [0.5, 1.0, 2.0]).batch([0, 1, 2])
    assert (vectors.inputs[0].shape, vectors.inputs[0].sum()) == ((3, 3, 2), 6)


def test_evaluate_predict_and_fit_pass_over_sequences_of_no_steps():
    examples, kept = Examples(SEQUENCES, CLASSES), [1, 2, 4]
    options = {"loss": "softmax_cross_entropy", "metrics": ["accuracy"]}
    for size in (1, 2, 64):
        figures = fastrnn.evaluate(_tagger(), examples, batch_size=size, **options)
        wanted = fastrnn.evaluate(_tagger(), examples[kept], **options)
        assert figures == pytest.approx(wanted, rel=1e-6)
        outputs = fastrnn.predict(_tagger(), examples, batch_size=size)
        assert [y.shape for y in outputs] == [(0, 3), (3, 3), (1, 3), (0, 3), (2, 3)]
        for got, expected in zip([outputs[i] for i in kept], fastrnn.predict(_tagger(), examples[kept]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    trained = []
    for some in (examples, examples[kept]):
        model = _tagger()
        fastrnn.fit(model, some, epochs=3, batch_size=64)
        trained.append(model.state_dict())
    for name, value in trained[0].items():
        np.testing.assert_allclose(value, trained[1][name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_nothing_but_sequences_of_no_steps_cannot_be_learnt():
    with pytest.raises(ValueError, match="targets must hold at least one step, got only empty sequences"):
        fastrnn.fit(_tagger(), Examples([np.zeros(0, int)] * 2, [np.zeros(0, int)] * 2))
