"""What a calibration can be told: of all of it, and of the paper's method."""
