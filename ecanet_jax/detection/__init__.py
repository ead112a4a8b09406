"""Two-stage object detection and instance segmentation.

Every function has fixed shapes and works in jit, grad and vmap. All but the losses take one image,
and `jax.vmap` makes them take a batch. Where an image has fewer boxes than an array has rows, a
mask says which rows count.

Boxes are `[..., 4]`, float32, `x1, y1, x2, y2` in pixels of the network's input.
"""
