"""Comparison in the precisions "high" and "medium" with peers whose errors are of the same order."""

QUESTION = "precisions"


def test_precisions(versus, case):
    """Measure one case."""
    versus(case)
