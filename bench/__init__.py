"""The benchmarks: ratios to plain references in the same run; see docs/benchmarks.md."""
