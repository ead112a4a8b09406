"""Images with boxes and masks, for detection and instance segmentation.

Boxes are float32 `x1, y1, x2, y2` in pixels, labels are numbers from 0 without gaps. Crowds (COCO's
`iscrowd`) belong to the ground truth of the evaluation only.
"""
