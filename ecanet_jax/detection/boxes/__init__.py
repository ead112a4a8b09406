"""Boxes: sides and clipping, anchors, the box coder, IoU and non-maximum suppression."""
