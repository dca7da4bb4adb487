"""Symbols, time axes, lengths and padding: what a graph knows of the values between layers."""
