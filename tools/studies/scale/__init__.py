"""Many daemons at once, and what one costs: ``python -m tools.studies.scale``."""
