"""The base of all other packages: parameters, caches, validation, memory."""
