"""Pure maths on NumPy arrays: no files, clocks, logs, streams or torch."""
