"""Losses by value, compared with torch and finite differences, and for the largest and smallest floats."""

import numpy as np
import pytest
from differences import central_differences
from tables import each_row

from fastrnn import losses
from fastrnn.backends import numpy_training
from fastrnn.losses import mean_squared_error, sigmoid_binary_cross_entropy, softmax_cross_entropy

INF = np.inf


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=[None, 8], ids=["one chunk", "many chunks"])
def chunk(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(numpy_training, "SOFTMAX_CHUNK", request.param)
        monkeypatch.setattr(losses, "ELEMENTWISE_CHUNK", request.param)


def tolerance(dtype):
    return {"rtol": 1e-12, "atol": 1e-14} if dtype == "float64" else {"rtol": 2e-6, "atol": 1e-7}


def assert_gradient(loss, x, dx):
    """Compare the gradient with central differences of ``loss(x)`` at every element."""
    np.testing.assert_allclose(dx, central_differences(lambda: loss(x), x), rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("chunk", "training_engine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
class TestAgainstTorch:
    @pytest.mark.parametrize("ignore_index", [-100, 2, 999])
    def test_softmax(self, torch, rng, dtype, reduction, ignore_index):
        logits = (3 * rng.standard_normal((5, 7, 11))).astype(dtype)
        targets = rng.integers(0, 11, (5, 7))
        targets[rng.random((5, 7)) < 0.3] = ignore_index
        x = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(
            x.flatten(0, 1), torch.tensor(targets).flatten(), ignore_index=ignore_index, reduction=reduction
        )
        expected.backward()
        loss, dlogits = softmax_cross_entropy(logits, targets, ignore_index=ignore_index, reduction=reduction)
        assert isinstance(loss, float)
        assert dlogits.dtype == dtype
        np.testing.assert_allclose(loss, expected.item(), **tolerance(dtype))
        np.testing.assert_allclose(dlogits, x.grad.numpy(), **tolerance(dtype))

    def test_sigmoid(self, torch, rng, dtype, reduction):
        logits = (3 * rng.standard_normal((6, 5))).astype(dtype)
        targets = rng.random((6, 5)).astype(dtype)
        targets[0], targets[1] = 0, 1
        theirs = torch.nn.functional.binary_cross_entropy_with_logits
        self.assert_equal(torch, sigmoid_binary_cross_entropy, theirs, logits, targets, reduction)

    def test_mean_squared(self, torch, rng, dtype, reduction):
        pred, target = rng.standard_normal((2, 4, 3, 5)).astype(dtype)
        self.assert_equal(torch, mean_squared_error, torch.nn.functional.mse_loss, pred, target, reduction)

    def assert_equal(self, torch, ours, theirs, predictions, targets, reduction):
        x = torch.tensor(predictions, requires_grad=True)
        expected = theirs(x, torch.tensor(targets), reduction=reduction)
        expected.backward()
        loss, dx = ours(predictions, targets, reduction=reduction)
        np.testing.assert_allclose(loss, expected.item(), **tolerance(predictions.dtype))
        np.testing.assert_allclose(dx, x.grad.numpy(), **tolerance(predictions.dtype))


@pytest.mark.usefixtures("chunk", "training_engine")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
class TestMask:
    """A masked value counts neither in the sum nor in the number of positions, and may be anything."""

    def test_softmax(self, rng, reduction):
        logits, targets = rng.standard_normal((4, 3, 6)), rng.integers(0, 6, (4, 3))
        mask = rng.random((4, 3)) < 0.6
        expected, dexpected = softmax_cross_entropy(logits[mask], targets[mask], reduction=reduction)
        logits[~mask], targets[~mask] = np.nan, 12345
        loss, dlogits = softmax_cross_entropy(logits, targets, mask=mask, reduction=reduction)
        np.testing.assert_allclose(loss, expected, rtol=1e-14)
        np.testing.assert_array_equal(dlogits[mask], dexpected)
        np.testing.assert_array_equal(dlogits[~mask], 0)

    @pytest.mark.parametrize("loss_function", [sigmoid_binary_cross_entropy, mean_squared_error])
    @pytest.mark.parametrize("mask_shape", [(4,), (4, 3), (4, 3, 5)])
    def test_elementwise(self, rng, reduction, loss_function, mask_shape):
        x, t = rng.standard_normal((4, 3, 5)), rng.random((4, 3, 5))
        mask = rng.random(mask_shape) < 0.6
        mask.flat[0], mask.flat[1] = True, False
        expected, dexpected = loss_function(x[mask], t[mask], reduction=reduction)
        x[~mask], t[~mask] = np.nan, np.nan
        loss, dx = loss_function(x, t, mask=mask, reduction=reduction)
        np.testing.assert_allclose(loss, expected, rtol=1e-14)
        np.testing.assert_allclose(dx[mask], dexpected, rtol=1e-14)
        np.testing.assert_array_equal(dx[~mask], 0)

    def test_with_ignore_index(self, rng, reduction):
        logits, targets = rng.standard_normal((6, 4)), np.array([0, 1, -100, 3, 2, -100])
        mask = np.array([True, False, True, True, True, False])
        expected, _ = softmax_cross_entropy(logits[[0, 3, 4]], targets[[0, 3, 4]], reduction=reduction)
        loss, dlogits = softmax_cross_entropy(logits, targets, mask=mask, reduction=reduction)
        np.testing.assert_allclose(loss, expected, rtol=1e-14)
        np.testing.assert_array_equal(dlogits[[1, 2, 5]], 0)


@pytest.mark.usefixtures("training_engine")
class TestFiniteDifferences:
    def test_softmax(self, rng):
        logits, targets = rng.standard_normal((3, 2, 5)), rng.integers(0, 5, (3, 2))
        targets[1, 1] = -100
        _, dlogits = softmax_cross_entropy(logits, targets)
        assert_gradient(lambda x: softmax_cross_entropy(x, targets)[0], logits, dlogits)

    def test_sigmoid(self, rng):
        logits, targets = rng.standard_normal((4, 3)), rng.random((4, 3))
        _, dlogits = sigmoid_binary_cross_entropy(logits, targets)
        assert_gradient(lambda x: sigmoid_binary_cross_entropy(x, targets)[0], logits, dlogits)

    def test_mean_squared(self, rng):
        pred, target, mask = *rng.standard_normal((2, 4, 3)), np.array([True, False, True, True])
        _, dpred = mean_squared_error(pred, target, mask=mask)
        assert_gradient(lambda x: mean_squared_error(x, target, mask=mask)[0], pred, dpred)


@pytest.mark.usefixtures("training_engine")
class TestEdges:
    @each_row("dtype", ["float32", "float64"])
    def test_softmax_of_huge_logits(self, dtype):
        logits = np.array([[1e30, -1e30, 0], [1e30, 1e30, -1e30]], dtype)
        loss, dlogits = softmax_cross_entropy(logits, np.array([0, 1]), reduction="sum")
        np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
        np.testing.assert_array_equal(dlogits, np.array([[0, 0, 0], [0.5, -0.5, 0]], dtype))

    def test_softmax_where_a_class_is_impossible(self):
        loss, dlogits = softmax_cross_entropy(np.array([[0.0, -INF, 0.0]]), [0])
        np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
        np.testing.assert_allclose(dlogits, [[-0.5, 0, 0.5]], rtol=1e-15)

    def test_softmax_where_the_target_is_impossible(self):
        loss, dlogits = softmax_cross_entropy(np.array([[0.0, -INF, 0.0]]), [1])
        assert loss == INF
        np.testing.assert_allclose(dlogits, [[0.5, -1, 0.5]], rtol=1e-15)

    def test_softmax_where_there_is_no_distribution(self):
        for row in ([-INF, -INF], [INF, 0.0], [np.nan, 0.0]):
            loss, dlogits = softmax_cross_entropy(np.array([row]), [0])
            assert np.isnan(loss)
            assert np.isnan(dlogits).any()

    def test_softmax_is_summed_in_float64(self):
        # Each position's loss is ln 2; a float32 sum of 2^18 of them would be off by far more than 1e-7.
        loss, _ = softmax_cross_entropy(np.zeros((2**18, 2), np.float32), np.zeros(2**18, int), reduction="sum")
        np.testing.assert_allclose(loss, 2**18 * np.log(2), rtol=1e-7)

    def test_sigmoid_of_infinite_logits(self):
        x, t = np.array([INF, -INF, INF, -INF, 1e300, -1e300]), np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
        loss, dlogits = sigmoid_binary_cross_entropy(x[[0, 1, 4, 5]], t[[0, 1, 4, 5]])
        assert loss == 0
        np.testing.assert_array_equal(dlogits, 0)
        assert sigmoid_binary_cross_entropy(x[2:4], t[2:4])[0] == INF
        np.testing.assert_array_equal(sigmoid_binary_cross_entropy(x[2:4], t[2:4], reduction="sum")[1], [1, -1])

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_nothing_counts(self, rng, reduction):
        x, mask = rng.standard_normal((3, 2)), np.zeros(3, bool)
        for loss, dx in (
            softmax_cross_entropy(x, [-100] * 3, reduction=reduction),
            softmax_cross_entropy(x, [0] * 3, mask=mask, reduction=reduction),
            mean_squared_error(x, x + 1, mask=mask, reduction=reduction),
            sigmoid_binary_cross_entropy(x, np.ones_like(x), mask=mask, reduction=reduction),
        ):
            assert loss == 0
            np.testing.assert_array_equal(dx, np.zeros((3, 2)))

    def test_single_position_and_empty(self):
        loss, dlogits = softmax_cross_entropy(np.zeros(4), 2)
        np.testing.assert_allclose(loss, np.log(4), rtol=1e-15)
        np.testing.assert_array_equal(dlogits, [0.25, 0.25, -0.75, 0.25])
        assert mean_squared_error(np.array(3.0), np.array(1.0))[0] == 4
        assert mean_squared_error(np.zeros((0, 3)), np.zeros((0, 3)))[0] == 0

    def test_strided_logits(self, rng):
        logits, targets = rng.standard_normal((4, 3, 5)), rng.integers(0, 5, (3, 4))
        strided = logits.swapaxes(0, 1)
        loss, dlogits = softmax_cross_entropy(strided, targets)
        expected, dexpected = softmax_cross_entropy(strided.copy(), targets)
        assert loss == expected
        np.testing.assert_array_equal(dlogits, dexpected)

    @each_row("dtype", ["uint8", "int16", "int32", "int64"])
    def test_integer_dtypes_of_targets(self, rng, dtype):
        logits = rng.standard_normal((3, 5))
        assert softmax_cross_entropy(logits, np.array([1, 4, 0], dtype))[0] == softmax_cross_entropy(logits, [1, 4, 0])[0]


class TestErrors:
    @pytest.mark.usefixtures("training_engine")
    @each_row(("targets", "value"), [([0, 5], "5"), ([-1, 0], "-1"), ([-7, 99], "-7")])
    def test_target_out_of_range(self, targets, value):
        with pytest.raises(ValueError, match=rf"targets must hold class ids in 0..4 \(or ignore_index\), got {value}$"):
            softmax_cross_entropy(np.zeros((2, 5)), targets)

    @pytest.mark.usefixtures("training_engine")
    @each_row(("error", "ignored"), [(TypeError, None), (TypeError, 1.0), (ValueError, 2**63), (ValueError, -(2**70))])
    def test_ignore_index_is_an_integer(self, error, ignored):
        with pytest.raises(error, match="ignore_index must be"):
            softmax_cross_entropy(np.zeros((2, 5)), [0, 1], ignore_index=ignored)

    @each_row(
        ("error", "message", "call"),
        [
            (TypeError, "logits must be a float32 or float64 array, got", lambda z: softmax_cross_entropy([[0.0]], [0])),
            (TypeError, "logits must be .* got int64 array", lambda z: softmax_cross_entropy(z.astype(int), [0, 0])),
            (TypeError, "targets must hold integer", lambda z: softmax_cross_entropy(z, np.zeros(2))),
            (TypeError, "targets must hold integer", lambda z: softmax_cross_entropy(z, np.zeros(2, bool))),
            (ValueError, r"targets must have the shape .* \(2,\), got \(3,\)", lambda z: softmax_cross_entropy(z, [0] * 3)),
            (ValueError, "with V at least 1", lambda z: softmax_cross_entropy(np.zeros((2, 0)), [0, 0])),
            (TypeError, "mask must be a bool", lambda z: softmax_cross_entropy(z, [0, 0], mask=np.ones(2))),
            (ValueError, "mask must have", lambda z: softmax_cross_entropy(z, [0, 0], mask=np.ones(3, bool))),
            (ValueError, "mask must have .* leading", lambda z: mean_squared_error(z, z, mask=np.ones(3, bool))),
            (
                ValueError,
                "reduction must be one of 'mean', 'sum', got 'none'",
                lambda z: mean_squared_error(z, z, reduction="none"),
            ),
            (TypeError, "targets must be a float64", lambda z: mean_squared_error(z, z.astype("float32"))),
            (ValueError, "targets must be a float64", lambda z: mean_squared_error(z, z[:1])),
            (ValueError, "targets must be probabilities in 0..1, got 2.0", lambda z: sigmoid_binary_cross_entropy(z, z + 2)),
        ],
    )
    def test_arguments(self, error, message, call):
        with pytest.raises(error, match=message):
            call(np.zeros((2, 3)))
