"""Comparison of sequences with lengths and denormal inputs with a peer."""

QUESTION = "variants"


def test_variants(versus, case):
    """Measure one case."""
    versus(case)
