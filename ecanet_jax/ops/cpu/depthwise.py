"""Depthwise convolution on a CPU, with both gradients; vectorised over channels."""

import functools

import jax
import jax.numpy as jnp

from ecanet_jax.ops import convolution as plain
from ecanet_jax.ops.cpu import kernels
from ecanet_jax.ops.cpu.batch_norm import add_bias
from ecanet_jax.ops.cpu.kernels import FUSED

STRIDES = (1, 2)


def depthwise_conv(x, kernel, stride, padding, bias=None, activation=''):
  """`ops.convolution.depthwise_conv`."""
  if stride not in STRIDES or not kernels.usable(x, kernel):
    return plain.depthwise_conv(x, kernel, stride, padding, bias, activation)
  if bias is None or activation not in FUSED:
    return add_bias(_depthwise(x, kernel, stride, padding), bias, activation)
  return _biased(x, kernel, bias.astype(x.dtype), stride, padding, activation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x, kernel, stride, padding):
  return _call(x, kernel, jnp.zeros(x.shape[-1], x.dtype), stride, padding, '')


def _call(x, kernel, bias, stride, padding, activation):
  shape = kernels.output_shape(x.shape, kernel.shape, stride, padding, x.shape[-1])
  return kernels.call(
    'depthwise_forward', shape, x, kernel, bias, **_corner(stride, padding),
    activation=FUSED[activation],
  )


def _forward(x, kernel, stride, padding):
  return _depthwise(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, gradient):
  x, kernel = residuals
  return tuple(kernels.call(
    'depthwise_backward', [x.shape, kernel.shape], x, kernel, gradient, **_corner(stride, padding)
  ))


_depthwise.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _biased(x, kernel, bias, stride, padding, activation):
  return _call(x, kernel, bias, stride, padding, activation)


def _biased_forward(x, kernel, bias, stride, padding, activation):
  return _biased(x, kernel, bias, stride, padding, activation), (x, kernel, bias)


def _biased_backward(stride, padding, activation, residuals, gradient):
  plain = lambda x, kernel, bias: add_bias(
    _depthwise(x, kernel, stride, padding), bias, activation
  )
  return jax.vjp(plain, *residuals)[1](gradient)


_biased.defvjp(_biased_forward, _biased_backward)


def _corner(stride, padding):
  return {'stride': stride, 'top': padding[0][0], 'left': padding[1][0]}
