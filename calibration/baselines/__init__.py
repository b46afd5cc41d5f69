"""What the field is compared with: MNE's interpolations, splines, minimum norm."""
