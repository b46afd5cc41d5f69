"""Research: what only those who develop the methods run. Not part of the wheel."""
