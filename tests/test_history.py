"""The history that fit returns."""

import pytest
from fit_data import tagged, tagger

from fastrnn import fit
from fastrnn.training import History


def test_a_history_is_a_mapping():
    history = fit(tagger(), tagged(), epochs=2, metrics="accuracy")
    assert list(history) == list(history.keys()) == ["loss", "accuracy", "lr"]
    assert dict(history) == dict(history.items()) == history.history
    assert [len(values) for values in history.values()] == [2, 2, 2]
    assert len(history) == 3
    assert "accuracy" in history
    assert history.get("val_loss") is None
    with pytest.raises(KeyError, match="val_loss"):
        history["val_loss"]
    assert dict(History()) == {}
