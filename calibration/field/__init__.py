"""From readouts to a mixture of 4D Gaussians: covariance, placement, model, refinement."""
