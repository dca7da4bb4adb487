"""Sequences of any length, and denormal inputs, beside ordinary ones, beside a peer."""

QUESTION = "variants"


def test_variants(versus, case):
    versus(case)
