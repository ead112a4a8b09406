"""The task of detectors, and COCO's metrics of boxes and masks."""
