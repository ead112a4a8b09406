"""`python -m benchmarks detection`: a Mask R-CNN beside torchvision's."""
