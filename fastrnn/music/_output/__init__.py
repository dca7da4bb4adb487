"""Solos as sound, pictures and statistics."""
