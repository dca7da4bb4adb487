"""A training step, beside a peer."""

QUESTION = "training"


def test_training(versus, case):
    versus(case)
