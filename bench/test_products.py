"""Comparison of the input product alone with a peer."""

QUESTION = "product"


def test_product(versus, case):
    """Measure one case."""
    versus(case)
