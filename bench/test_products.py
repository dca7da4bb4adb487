"""The input product alone, beside a peer."""

QUESTION = "product"


def test_product(versus, case):
    versus(case)
