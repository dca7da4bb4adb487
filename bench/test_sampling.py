"""Sampling one stream, beside a peer."""

QUESTION = "sampling"


def test_sampling(versus, case):
    versus(case)
