"""Comparison of training on names, one name per step, with a peer."""

QUESTION = "names"


def test_names(versus, case):
    """Measure one case."""
    versus(case)
