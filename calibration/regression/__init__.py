"""HD from LD by linear regression: Gram matrices, blocks of time, profiles, priors."""
