"""Measurements: latency against a floor in the same run, engines, long runs, many daemons."""
