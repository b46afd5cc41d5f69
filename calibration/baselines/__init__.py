"""What the field is compared with: ridge, splines, minimum norm, MNE's interpolation."""
