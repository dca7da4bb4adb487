"""The exception that sends a call back to Keras."""

NOT_A_CALL = ""  # the reason for a call of shapes without values, by which Keras builds a model; not counted


class Unsupported(Exception):
    """A call that the kernels cannot run; the message is the reason in the report."""
