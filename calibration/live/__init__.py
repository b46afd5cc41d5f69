"""Calibrating from a live stream: recording it, watching its quality, keeping it whole."""
