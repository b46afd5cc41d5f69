"""One subject's field on another subject: ``python -m tools.studies.cross_subject``."""
