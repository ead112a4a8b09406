"""The logs of a training: metrics.jsonl, TensorBoard events, curves."""
