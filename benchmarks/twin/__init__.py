"""python -m benchmarks twin: our training beside a PyTorch (timm) one; see `command`."""
