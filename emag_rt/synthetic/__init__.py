"""Made-up heads with known sources, from a seed."""
