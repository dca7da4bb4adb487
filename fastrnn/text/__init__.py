"""Text: vocabularies, batches, language models of characters and words.

Nothing is imported here, so that a command loads only what it needs.
"""
