"""The demonstration: a simulated subject, from calibration to reading back."""
