"""Conditional random fields by value: brute force over all tag sequences, finite differences, torch, lengths, errors."""

from itertools import product

import numpy as np
import pytest
from differences import central_differences, normal, parameter_differences
from tables import each_row

import fastrnn
from fastrnn.losses import crf_nll

T, B, K = 5, 4, 3
LENGTHS = np.array([5, 3, 1, 4])
MASK = np.arange(T)[:, None] < LENGTHS
TARGETS = np.random.default_rng(0).integers(0, K, (T, B))


def made(dtype="float64"):
    layer = fastrnn.CRF(K, rng=0, dtype=dtype)
    for i, parameter in enumerate(layer.parameters()):
        parameter.assign(normal(*parameter.shape, seed=i).astype(dtype))
    return layer


def score(scores, b, tags):
    """Return the sum of a sequence's scores, one step after the other."""
    return sum(scores[t, b, tags[t - 1] if t else 0, tag] for t, tag in enumerate(tags))


def every(scores, b, n):
    """Return all sequences of n tags with their scores."""
    return [(tags, score(scores, b, tags)) for tags in product(range(K), repeat=n)]


def by_brute_force(scores, targets, lengths):
    """Return -log p(targets) of each sequence and its gradient, from all K^T sequences of tags."""
    losses, gradient = [], np.zeros_like(scores)
    for b, n in enumerate(lengths):
        found = every(scores, b, n)
        log_z = np.log(sum(np.exp(value) for _, value in found))
        losses.append(log_z - score(scores, b, targets[:n, b]))
        for tags, value in found:
            for t, tag in enumerate(tags):
                gradient[t, b, tags[t - 1] if t else 0, tag] += np.exp(value - log_z)
        for t, tag in enumerate(targets[:n, b]):
            gradient[t, b, targets[t - 1, b] if t else 0, tag] -= 1
    return np.array(losses), gradient


@pytest.mark.parametrize("scale", [0.1, 1, 20])
def test_loss_and_gradient_are_those_of_all_sequences(scale):
    scores = scale * normal(T, B, K, K)
    losses, gradient = by_brute_force(scores, TARGETS, LENGTHS)
    padded = np.where(MASK[:, :, None, None], scores, np.nan)  # what is masked is not read
    loss, dscores = crf_nll(padded, TARGETS, mask=MASK, reduction="sum")
    assert isinstance(loss, float)
    np.testing.assert_allclose(loss, losses.sum(), rtol=1e-12)
    np.testing.assert_allclose(dscores, gradient, rtol=1e-10, atol=1e-13)
    mean, dmean = crf_nll(padded, np.where(MASK, TARGETS, -100))  # targets of -100 are masked too
    np.testing.assert_allclose(mean, losses.sum() / LENGTHS.sum(), rtol=1e-12)
    np.testing.assert_allclose(dmean, gradient / LENGTHS.sum(), rtol=1e-10, atol=1e-13)


def test_float32_agrees_with_float64():
    scores = normal(T, B, K, K).astype(np.float32)
    loss, dscores = crf_nll(scores, TARGETS, mask=MASK)
    expected, dexpected = crf_nll(scores.astype(np.float64), TARGETS, mask=MASK)
    assert dscores.dtype == np.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(dscores, dexpected, rtol=1e-5, atol=1e-7)


def test_a_long_sequence_in_float32_is_as_accurate():
    # log Z is about 30,000, so a running sum in float32 would be off by some 0.002 at each step.
    scores, targets = 2 * normal(10_000, 1, K, K).astype(np.float32), np.zeros((10_000, 1), int)
    loss, dscores = crf_nll(scores, targets)
    expected, dexpected = crf_nll(scores.astype(np.float64), targets)
    np.testing.assert_allclose(loss, expected, rtol=1e-7)
    np.testing.assert_allclose(dscores, dexpected, rtol=1e-3, atol=1e-9)


def test_the_gradient_by_differences():
    scores = normal(T, B, K, K)
    _, dscores = crf_nll(scores, TARGETS, mask=MASK)
    expected = central_differences(lambda: crf_nll(scores, TARGETS, mask=MASK)[0], scores)
    np.testing.assert_allclose(dscores, expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_of_torch(torch):
    scores = normal(T, B, K, K)
    x = torch.tensor(scores, requires_grad=True)
    total = x.new_zeros(())
    for b, n in enumerate(LENGTHS):
        a = x[0, b, 0]
        for t in range(1, n):
            a = torch.logsumexp(a[:, None] + x[t, b], 0)
        total = total + torch.logsumexp(a, 0) - score(x, b, TARGETS[:n, b].tolist())
    total.backward()
    loss, dscores = crf_nll(scores, TARGETS, mask=MASK, reduction="sum")
    np.testing.assert_allclose(loss, total.item(), rtol=1e-12)
    np.testing.assert_allclose(dscores, x.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_independent_steps_are_a_softmax():
    logits = normal(T, B, K)
    scores = np.ascontiguousarray(np.broadcast_to(logits[:, :, None], (T, B, K, K)))
    loss, dscores = crf_nll(scores, TARGETS, mask=MASK)
    expected, dlogits = fastrnn.losses.softmax_cross_entropy(logits, TARGETS, mask=MASK)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(dscores.sum(axis=2), dlogits, rtol=1e-10, atol=1e-14)


def test_huge_scores():
    scores = np.zeros((2, 1, 2, 2))
    scores[0, 0, 0], scores[1, 0, 0], scores[1, 0, 1] = [1e30, -1e30], [1e30, 0], [0, 1e30]
    loss, dscores = crf_nll(scores, np.zeros((2, 1), int), reduction="sum")
    assert loss == 0
    np.testing.assert_array_equal(dscores, 0)


def test_forbidden_pairs():
    scores = normal(T, B, K, K)
    scores[1:, :, 0, 2] = scores[0, :, :, 2] = -np.inf  # tag 2 neither begins a sequence nor follows tag 0
    legal = np.ones((T, B), int)
    losses, gradient = by_brute_force(scores, legal, [T] * B)
    loss, dscores = crf_nll(scores, legal, reduction="sum")
    np.testing.assert_allclose(loss, losses.sum(), rtol=1e-12)
    np.testing.assert_allclose(dscores, gradient, rtol=1e-10, atol=1e-13)
    assert crf_nll(scores, np.full((T, B), 2))[0] == np.inf
    tags = fastrnn.CRF.decode(scores)
    assert not (tags[0] == 2).any()
    assert not ((tags[1:] == 2) & (tags[:-1] == 0)).any()


def test_where_there_is_no_distribution():
    for value in (-np.inf, np.inf, np.nan):
        for t in (0, 1):
            scores = np.zeros((2, 1, 2, 2))
            scores[t] = value
            loss, dscores = crf_nll(scores, np.zeros((2, 1), int))
            assert np.isnan(loss)
            assert np.isnan(dscores).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_viterbi_finds_the_best_of_all_sequences(dtype):
    for seed in range(20):
        scores = normal(T, B, K, K, seed=seed).astype(dtype)
        tags = fastrnn.CRF.decode(np.where(MASK[:, :, None, None], scores, np.nan).astype(dtype), LENGTHS)
        for b, n in enumerate(LENGTHS):
            best, value = max(every(scores.astype(np.float64), b, n), key=lambda pair: pair[1])
            assert tags[:n, b].tolist() == list(best)
            assert (tags[n:, b] == -1).all()
            assert value == score(scores.astype(np.float64), b, tags[:n, b])


def test_equal_sequences_have_the_smallest_tags():
    np.testing.assert_array_equal(fastrnn.CRF.decode(np.zeros((T, B, K, K))), np.zeros((T, B)))


def test_the_layer_adds_its_scores():
    layer, x = made(), normal(T, B, K, seed=9)
    y = layer(x, lengths=LENGTHS)
    transitions, start, end = (p.data for p in layer.parameters())
    for t, b, i, j in np.ndindex(T, B, K, K):
        expected = x[t, b, j] + (transitions[i, j] if t else start[j]) + (end[j] if t == LENGTHS[b] - 1 else 0)
        assert y[t, b, i, j] == pytest.approx(expected if t < LENGTHS[b] else 0, rel=1e-12)
    np.testing.assert_array_equal(layer(x), layer(x, lengths=[T] * B))


@pytest.mark.parametrize("lengths", [None, LENGTHS, np.array([0, 5, 0, 2])], ids=["no lengths", "lengths", "empty ones"])
def test_gradients_of_the_layer_by_differences(lengths):
    layer, x, dy = made(), normal(T, B, K, seed=9), normal(T, B, K, K, seed=8)
    y, backward = layer.forward(x, lengths=lengths)
    np.testing.assert_array_equal(layer(x, lengths=lengths), y)
    dx = backward(dy)

    def loss():
        return np.sum(layer(x, lengths=lengths) * dy)

    np.testing.assert_allclose(dx, central_differences(loss, x), rtol=1e-6, atol=1e-8)
    for parameter in layer.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), rtol=1e-6, atol=1e-8)
    first = [p.grad.copy() for p in layer.parameters()]
    layer.forward(x, lengths=lengths)[1](dy)
    for parameter, gradient in zip(layer.parameters(), first, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient, rtol=1e-12)


def test_the_loss_through_the_layer_by_differences():
    layer, x = made(), normal(T, B, K, seed=9)
    y, backward = layer.forward(x, lengths=LENGTHS)

    def loss():
        return crf_nll(layer(x, lengths=LENGTHS), TARGETS, mask=MASK)[0]

    dx = backward(crf_nll(y, TARGETS, mask=MASK)[1])
    np.testing.assert_allclose(dx, central_differences(loss, x), rtol=1e-6, atol=1e-9)
    for parameter in layer.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), rtol=1e-6, atol=1e-9)


def test_nothing_to_do():
    scores = np.zeros((T, 0, K, K), np.float32)
    loss, dscores = crf_nll(scores, np.zeros((T, 0), int))
    assert (loss, dscores.shape) == (0, scores.shape)
    assert crf_nll(np.zeros((0, 2, K, K)), np.zeros((0, 2), int))[0] == 0
    loss, dscores = crf_nll(normal(T, B, K, K), TARGETS, mask=np.zeros((T, B), bool))
    assert loss == 0
    assert not dscores.any()
    assert fastrnn.CRF.decode(scores).shape == (T, 0)
    assert (fastrnn.CRF.decode(normal(T, B, K, K), [0] * B) == -1).all()
    assert fastrnn.CRF(K)(np.zeros((T, 0, K), np.float32)).shape == scores.shape


def test_a_model_without_memory_learns_what_its_neighbours_tell():
    # Word 0 has tag 0. Word 1 has tag 1 after tags 0 and 1, else tag 2. Word 2 has tag 2.
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 3, rng.integers(2, 12)) for _ in range(200)]
    tags = []
    for sentence in words:
        before = 2
        tags.append([before := 0 if word == 0 else 1 if word == 1 and before < 2 else 2 for word in sentence])
    x = fastrnn.Input(("T", "B"), dtype="int64")
    model = fastrnn.Model(x, fastrnn.CRF(3, rng=2)(fastrnn.Embedding(3, 3, rng=1)(x)))
    examples = fastrnn.Examples(words, tags)
    history = fastrnn.fit(model, examples[:150], loss="crf_nll", validation=examples[150:], epochs=30, lr=0.05)
    assert history["val_loss"][-1] < 0.1
    again = fastrnn.evaluate(model, examples[150:], loss="crf_nll")["loss"]
    assert again == pytest.approx(history["val_loss"][-1], rel=1e-6)  # an evaluation changes nothing
    for scores, expected in zip(fastrnn.predict(model, examples[150:]), tags[150:], strict=True):
        assert fastrnn.CRF.decode(scores[:, None])[:, 0].tolist() == expected


def test_a_model_with_a_crf_is_saved(tmp_path):
    x = fastrnn.Input(("T", "B", K))
    model = fastrnn.Model(x, fastrnn.CRF(K, rng=1)(x))
    model.save(tmp_path / "model.safetensors")
    values = normal(T, B, K).astype(np.float32)
    again = fastrnn.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again(values, lengths=LENGTHS), model(values, lengths=LENGTHS))
    with pytest.raises(ValueError, match="crf: it adds a score to a sequence's last step"):
        model.step(values[0])


S, X = normal(T, B, K, K), normal(T, B, K)
GAP = MASK.copy()
GAP[1, 3] = False


@each_row(
    ("call", "error", "message"),
    [
        (lambda: crf_nll(S.tolist(), TARGETS), TypeError, "scores must be a float32 or float64 array, got"),
        (lambda: crf_nll(S.astype("float16"), TARGETS), TypeError, "scores must be a float32 or float64 array"),
        (lambda: crf_nll(S[..., :2], TARGETS), ValueError, r"scores must have shape \[T, B, K, K\] .* \(5, 4, 3, 2\)"),
        (lambda: crf_nll(X, TARGETS), ValueError, r"scores must have shape \[T, B, K, K\]"),
        (lambda: crf_nll(S[..., :0, :0], TARGETS), ValueError, "with K at least 1"),
        (lambda: crf_nll(S, TARGETS[1:]), ValueError, r"targets must have the shape \[T, B\] of scores, \(5, 4\), got"),
        (lambda: crf_nll(S, TARGETS + 0.5), TypeError, "targets must hold integer class ids"),
        (lambda: crf_nll(S, TARGETS + K), ValueError, r"targets must hold class ids in 0\.\.2 .*, got 5"),
        (lambda: crf_nll(S, TARGETS - K), ValueError, r"targets must hold class ids in 0\.\.2 .*, got -3"),
        (lambda: crf_nll(S, TARGETS, mask=MASK[1:]), ValueError, r"mask must have the shape of \(5, 4\), got \(4, 4\)"),
        (lambda: crf_nll(S, TARGETS, mask=MASK * 1), TypeError, "mask must be a bool array"),
        (lambda: crf_nll(S, TARGETS, mask=GAP), ValueError, "mask must not be True after a masked step, got .* sequence 3"),
        (lambda: crf_nll(S, TARGETS, reduction="none"), ValueError, "reduction must be one of 'mean', 'sum', got 'none'"),
        (lambda: fastrnn.CRF(0), ValueError, "tags must be at least 1, got 0"),
        (lambda: fastrnn.CRF(K, dtype="int64"), ValueError, "dtype must be float32 or float64, got int64"),
        (lambda: fastrnn.CRF(K)(X), TypeError, "x must be a float32 array, got float64 array"),
        (lambda: made()(X[..., :2]), ValueError, r"x must have shape \[T, B, K\] with K = 3, got .* \(5, 4, 2\)"),
        (lambda: made()(X[0]), ValueError, r"x must have shape \[T, B, K\] with K = 3, got .* \(4, 3\)"),
        (lambda: made()(X[:0]), ValueError, "x must have at least one time step"),
        (lambda: made()(X, lengths=[6, 1, 1, 1]), ValueError, r"lengths must each lie in 0\.\.T = 0\.\.5, got 6"),
        (lambda: made().forward(X)[1](S[1:]), ValueError, r"dy must be .*\[T, B, K, K\] = \(5, 4, 3, 3\)"),
        (lambda: made().decode(X), ValueError, r"scores must have shape \[T, B, K, K\]"),
        (lambda: made().decode(S.tolist()), TypeError, "scores must be a float32 or float64 array"),
        (lambda: made().decode(S, [1, 2]), ValueError, r"lengths must have shape \[B\] = \(4,\)"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_scores_that_are_nan_are_not_decoded():
    scores = normal(T, B, K, K)
    scores[3, 1, 0, 2] = np.nan  # past the length of sequence 1
    assert (fastrnn.CRF.decode(scores, LENGTHS)[:3, 1] >= 0).all()
    with pytest.raises(ValueError, match="scores must not be NaN, got NaN at step 3 of sequence 1"):
        fastrnn.CRF.decode(scores)
