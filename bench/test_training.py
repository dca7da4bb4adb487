"""Comparison of training steps with a peer."""

QUESTION = "training"


def test_training(versus, case):
    """Measure one case."""
    versus(case)
