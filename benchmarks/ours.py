"""Our side of the benchmark: one network in one mode, compiled for one device."""

import dataclasses
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks.profile import operation_classes, read_seconds, seconds_by_class
from ecanet_jax.models import create_model, network
from ecanet_jax.models.fold import fold_batch_norm
from ecanet_jax.runtime.memory import keep_freed_memory

CLASSES = 1000
LEARNING_RATE, MOMENTUM = 1e-3, 0.9
PROFILED_CALLS = 2


class Ours:
  """Inference, or a training step: forward, cross-entropy, backward, SGD with momentum.

  Dropout and drop-path are off on both sides, so that both do the same work.

  Attributes:
    device: its name.
  """

  def __init__(self, setting: dict[str, Any]):
    keep_freed_memory()  # as train.py does
    fields = {field.name for field in dataclasses.fields(network(setting['model']).family)}
    self._model = create_model(
      setting['model'], dtype=jnp.dtype(setting['dtype']), num_classes=CLASSES,
      **{name: 0.0 for name in ('dropout', 'drop_path') if name in fields},
    )
    self._batch, self._train = setting['batch_size'], setting['mode'] == 'train'
    shape = (self._batch, setting['image_size'], setting['image_size'], 3)
    device = jax.devices()[0]
    self.device = 'CPU' if device.platform == 'cpu' else device.device_kind
    self._device = device

    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    labels = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    one = jax.ShapeDtypeStruct((1, *shape[1:]), jnp.float32)
    abstract = jax.eval_shape(self._initial, one)
    if self._train:
      program = jax.jit(self._step, donate_argnums=0).lower(abstract, images, labels)
    else:  # as eval.py does
      variables = jax.jit(self._initial)(jnp.zeros(one.shape, one.dtype))[:2]
      self._model, folded = fold_batch_norm(
        self._model, dict(zip(('params', 'batch_stats'), variables))
      )
      self._state = jax.device_put((folded['params'], folded.get('batch_stats', {}), {}))
      program = jax.jit(self._infer).lower(self._state, images)
    self._program = program.compile()
    self._check_memory()

    random = np.random.default_rng(0)
    self._images = jnp.asarray(random.standard_normal(shape, np.float32))
    self._labels = jnp.asarray(random.integers(0, CLASSES, self._batch), jnp.int32)
    if self._train:
      self._state = jax.jit(self._initial)(self._images[:1])

  def _initial(self, image):
    """The values carried from call to call: variables, and in training their momentum."""
    variables = self._model.init(jax.random.key(0), image, train=False)
    params, stats = variables['params'], variables.get('batch_stats', {})
    return params, stats, jax.tree.map(jnp.zeros_like, params) if self._train else {}

  def _infer(self, state, images):
    params, stats, _ = state
    return self._model.apply({'params': params, 'batch_stats': stats}, images, train=False)

  def _step(self, state, images, labels):
    params, stats, momentum = state

    def loss_of(params):
      logits, changed = self._model.apply(
        {'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats']
      )
      loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
      return loss, changed.get('batch_stats', {})

    (loss, new_stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
    momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, gradient)
    params = jax.tree.map(lambda p, m: p - LEARNING_RATE * m, params, momentum)
    return (params, new_stats, momentum), loss

  def _check_memory(self) -> None:
    """Raises MemoryError if the compiled program needs more than the free memory of a CPU."""
    sizes, free = self._program.memory_analysis(), machine.available_memory()
    if self._device.platform != 'cpu' or sizes is None or free is None:
      return
    need = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + sizes.output_size_in_bytes
    if need > free:
      raise MemoryError(f'the program needs {need / 2**30:.1f} GiB, {free / 2**30:.1f} are free.')

  def run(self, calls: int) -> None:
    """Makes `calls` calls, one at a time: several in flight would share the cores."""
    for _ in range(calls):
      if self._train:
        self._state, loss = self._program(self._state, self._images, self._labels)
        jax.block_until_ready((self._state, loss))
      else:
        self._program(self._state, self._images).block_until_ready()

  def memory(self) -> dict[str, Any]:
    """Bytes of the program's temporaries, and the peak of the device or of the process."""
    machine.reset_peak()
    self.run(2)
    sizes, statistics = self._program.memory_analysis(), self._device.memory_stats()
    return {
      'what': "XLA's temporaries", 'temporaries': sizes.temp_size_in_bytes if sizes else None,
      'peak_of': 'process' if self._device.platform == 'cpu' else 'device',
      'peak': (statistics or {}).get('peak_bytes_in_use') or machine.peak_memory(),
    }

  def profile(self) -> dict[str, Any]:
    """Seconds per call and class of operation; see `profile.seconds_by_class`."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory(prefix='ecanet_jax_profile_') as folder:
      with jax.profiler.trace(folder, profiler_options=options):
        self.run(PROFILED_CALLS)
      seconds = read_seconds(folder)
    classes = operation_classes(self._program.as_text())
    return {
      'classes': seconds_by_class(seconds, classes, PROFILED_CALLS),
      'calls': PROFILED_CALLS,
    }
