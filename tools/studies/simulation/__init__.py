"""Simulation with truth: subjects whose second-order statistics are known exactly."""
