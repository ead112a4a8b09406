"""COCO's metrics of boxes and masks, and pictures of detections."""
