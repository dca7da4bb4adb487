"""Run folders, and what a run does besides training steps."""
