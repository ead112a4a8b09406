"""The networks of detectors: a backbone, a feature pyramid and heads."""
