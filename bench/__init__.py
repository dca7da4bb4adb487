"""The benchmark suite: ``python -m bench run`` measures everything and writes docs/performance.md.

``pytest bench`` measures a few cases of one question. Both use :mod:`fastrnn.benchmark`, as ``fastrnn bench`` does.
"""
