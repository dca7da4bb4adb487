"""One step from Python with its state carried, beside a peer."""

QUESTION = "step"


def test_step(versus, case):
    versus(case)
