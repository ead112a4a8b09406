"""SavedModel of TensorFlow, a folder. The network is one operator of StableHLO in it."""

import dataclasses
import pathlib
from collections import Counter

import numpy as np

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.options import PLATFORMS, ExportOptions
from ecanet_jax.export.packages import require
from ecanet_jax.export.stablehlo import count_operators, without_source_locations

FINGERPRINT = 'fingerprint.pb'


@dataclasses.dataclass(frozen=True)
class SavedModel:
  """See `formats.Format`."""

  name: str = 'saved_model'
  suffix: str = ''
  extra: str | None = 'train'
  backend: str = 'xla'
  tolerance: float = 1e-4
  cosine: float = 0.0

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    tf = require('tensorflow', 'tensorflow-cpu', 'train')
    from jax.experimental import jax2tf

    batch = 'b' if options.batch is None else str(options.batch)
    program = jax2tf.convert(
      forward.apply, polymorphic_shapes=[f'({batch}, _, _, _)'],
      native_serialization_platforms=[name for name in PLATFORMS if name in options.platforms],
      with_gradient=False,
    )
    images = tf.TensorSpec([options.batch, *forward.image_shape], tf.float32, 'images')
    serve = tf.function(
      lambda images: {'logits': program(images)}, autograph=False, input_signature=[images]
    )
    with without_source_locations():
      signatures = {'serving_default': serve.get_concrete_function()}
    tf.saved_model.save(
      tf.Module(), str(path), signatures, tf.saved_model.SaveOptions(save_debug_info=False)
    )
    (path / FINGERPRINT).unlink(missing_ok=True)  # it has a random number

  def load(self, path: pathlib.Path):
    tf = require('tensorflow', 'tensorflow-cpu', 'train')
    loaded = tf.saved_model.load(str(path))
    call = loaded.signatures['serving_default']

    def run(images: np.ndarray) -> np.ndarray:
      return call(images=tf.constant(images, tf.float32))['logits'].numpy()

    run.module = loaded  # a signature does not keep its module
    return run

  def operators(self, path: pathlib.Path) -> Counter[str]:
    require('tensorflow', 'tensorflow-cpu', 'train')
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((path / 'saved_model.pb').read_bytes())
    library = model.meta_graphs[0].graph_def.library.function
    nodes = (node for function in library for node in function.node_def)
    (module,) = (node.attr['module'].s for node in nodes if node.op == 'XlaCallModule')
    return count_operators(module)

  def convolutions(self, operators: Counter[str]) -> int:
    return operators['convolution']
