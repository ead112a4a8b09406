"""`python -m benchmarks latency`: milliseconds of an image in JAX and in other runtimes."""
