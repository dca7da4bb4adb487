"""Forward, beside a peer."""

QUESTION = "forward"


def test_forward(versus, case):
    versus(case)
