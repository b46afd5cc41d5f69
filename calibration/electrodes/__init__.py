"""Which electrodes are worth wearing: search, choice, what is on offer, picture."""
