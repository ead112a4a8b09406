"""Which boxes a detector gives: proposals, detections, and their masks in the image."""
