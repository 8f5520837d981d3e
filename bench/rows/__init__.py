"""The rows of the benchmark; each takes a `Bench` and returns its findings."""
