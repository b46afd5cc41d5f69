"""What a decoder makes of rendered HD: ``python -m tools.studies.decoders``."""
