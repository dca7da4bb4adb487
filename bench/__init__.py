"""The benchmark suite: ``python -m bench run`` measures everything and writes docs/performance.md.

``pytest bench`` looks at a few cases of one question. What measures is :mod:`fastrnn.benchmark`, as for ``fastrnn bench``.
"""
