"""Subcommands that calibration plugs into ``emag-rt``."""
