"""Files of weights: state dicts, checksums, limits."""
