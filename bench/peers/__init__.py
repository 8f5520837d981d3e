"""The peers for comparison: small, real programs, set up as their documentation says."""
