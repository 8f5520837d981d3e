"""The rows of DESIGN.md, section 7; each takes a `Bench` and returns its findings."""
