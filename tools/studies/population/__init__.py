"""The population field from a folder of recordings: ``python -m tools.studies.population``."""
