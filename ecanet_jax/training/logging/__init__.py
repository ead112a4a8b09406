"""What a training writes down: metrics files, TensorBoard events, curves."""
