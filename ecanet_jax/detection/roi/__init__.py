"""RoIAlign: the features of boxes from a feature pyramid."""
