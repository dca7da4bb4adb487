"""Comparison of training of a character model with a peer."""

QUESTION = "trainer"


def test_trainer(versus, case):
    """Measure one case."""
    versus(case)
