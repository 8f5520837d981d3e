"""What Starfold is compared with: small, real programs, set up as their documentation says."""
