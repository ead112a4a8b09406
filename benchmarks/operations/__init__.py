"""python -m benchmarks operations: single convolutions on a CPU; see `command`."""
