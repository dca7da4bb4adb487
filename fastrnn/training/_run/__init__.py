"""Run folders, metrics files, samples and everything else of a run apart from training steps."""
