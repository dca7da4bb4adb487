"""Comparison of sampling of one stream with a peer."""

QUESTION = "sampling"


def test_sampling(versus, case):
    """Measure one case."""
    versus(case)
