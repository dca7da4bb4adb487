"""Batches, training steps and evaluation of language models."""
