"""Speed of ecanet_jax beside timm, measured in turn; run as `python -m benchmarks`."""
