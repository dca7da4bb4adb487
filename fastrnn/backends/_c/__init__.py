"""The backend that calls the C library of ``csrc/``."""
