"""Comparison of one step from Python that carries its state with a peer."""

QUESTION = "step"


def test_step(versus, case):
    """Measure one case."""
    versus(case)
