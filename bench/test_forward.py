"""Comparison of forward passes with a peer."""

QUESTION = "forward"


def test_forward(versus, case):
    """Measure one case."""
    versus(case)
