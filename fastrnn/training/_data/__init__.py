"""Datasets of examples and the batches made from them."""
