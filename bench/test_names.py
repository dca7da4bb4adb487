"""Training on names, one a step, beside a peer."""

QUESTION = "names"


def test_names(versus, case):
    versus(case)
