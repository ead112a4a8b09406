"""What commands do with detectors."""
