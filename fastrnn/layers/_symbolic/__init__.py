"""Symbols, time axes, lengths and padding of the values between layers."""
