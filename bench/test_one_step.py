"""Comparison with a peer of one step from Python, with the state carried on."""

QUESTION = "step"


def test_step(versus, case):
    """Measure one case."""
    versus(case)
