"""Text: vocabularies, batches, character language models, sampling.

Nothing is imported here: backends import :mod:`fastrnn.text.sampling` while they load.
"""
