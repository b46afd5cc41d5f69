"""How good a calibration is: cross-validated within the session, and held out."""
