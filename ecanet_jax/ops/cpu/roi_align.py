"""RoIAlign on a CPU; XLA would copy every cell that a sample reads."""

import functools

import jax

from ecanet_jax.ops import roi_align as plain
from ecanet_jax.ops.cpu import kernels


def roi_align(cells, rois, size, samples):
  """`ops.roi_align.roi_align`."""
  if not kernels.usable(cells, rois):
    return plain.roi_align(cells, rois, size, samples)
  return _roi_align(cells, rois, size, samples)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _roi_align(cells, rois, size, samples):
  shape = (rois.shape[0], size, size, cells.shape[-1])
  return kernels.call('roi_align', shape, cells, rois, batched=True, samples=samples)


def _forward(cells, rois, size, samples):
  return _roi_align(cells, rois, size, samples), (cells, rois)


def _backward(size, samples, residuals, gradient):
  cells, rois = residuals
  del size
  dcells = kernels.call(
    'roi_align_gradient', cells.shape, rois, gradient, batched=True, samples=samples)
  return dcells, None


_roi_align.defvjp(_forward, _backward)
