"""From recordings to segments ready to be fitted: channel quality, choice of LD."""
