"""Chord symbols, intervals and instruments."""
