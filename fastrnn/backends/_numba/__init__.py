"""The backend whose kernels Numba compiles."""
