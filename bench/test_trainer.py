"""Training a character model, beside a peer."""

QUESTION = "trainer"


def test_trainer(versus, case):
    versus(case)
