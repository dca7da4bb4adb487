"""The backend over the C library of ``csrc/``."""
