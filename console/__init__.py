"""The operators' HTTP API and their pages."""
