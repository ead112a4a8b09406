"""ONNX files: written with the package `onnx` alone, run by ONNX Runtime."""

import dataclasses
import json
import pathlib
from collections import Counter

import numpy as np

from ecanet_jax.export.forward import Forward
from ecanet_jax.export.onnx.operators import OPSET, Builder
from ecanet_jax.export.onnx.steps import trace
from ecanet_jax.export.options import ExportOptions
from ecanet_jax.export.packages import require
from ecanet_jax.export.stablehlo import image_type
from ecanet_jax.version import __version__

IR_VERSION = 8  # the oldest with opset 17


@dataclasses.dataclass(frozen=True)
class Onnx:
  """See `formats.Format`."""

  name: str = 'onnx'
  suffix: str = '.onnx'
  extra: str | None = 'onnx'
  backend: str = 'portable'
  tolerance: float = 1e-4
  cosine: float = 0.0

  def write(self, forward: Forward, path: pathlib.Path, options: ExportOptions) -> None:
    onnx = require('onnx', 'onnx', 'onnx')
    images, steps, result = trace(forward.apply, image_type(forward, None))
    build = Builder()
    last = build.run(images, steps, result)
    nodes = build.graph.used(last)
    read = {name for node in nodes for name in node.inputs}
    helper, numbers = onnx.helper, onnx.TensorProto.FLOAT
    batch = options.batch or 'batch'
    graph = helper.make_graph(
      [helper.make_node(node.operator, node.inputs, [node.output], node.output, **node.attributes)
       for node in nodes],
      forward.name,
      [helper.make_tensor_value_info('images', numbers, [batch, *forward.image_shape])],
      [helper.make_tensor_value_info(last, numbers, [batch, result.shape[1]])],
      [onnx.numpy_helper.from_array(values, name)
       for name, values in build.graph.constants.items() if name in read],
    )
    _rename(graph, last, 'logits')
    model = helper.make_model(
      graph, producer_name='ecanet_jax', producer_version=__version__, ir_version=IR_VERSION,
      opset_imports=[helper.make_opsetid('', OPSET)],
    )
    helper.set_model_props(model, {
      'preprocess': forward.preprocess,
      'preprocessing': json.dumps(dict(forward.preprocessing)),
      'classes': json.dumps(forward.classes),
    })
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))

  def load(self, path: pathlib.Path):
    runtime = require('onnxruntime', 'onnxruntime', 'onnx')
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: np.asarray(images, np.float32)})[0]

  def operators(self, path: pathlib.Path) -> Counter[str]:
    onnx = require('onnx', 'onnx', 'onnx')
    return Counter(node.op_type for node in onnx.load(path).graph.node)

  def convolutions(self, operators: Counter[str]) -> int:
    return operators['Conv']


def _rename(graph, old: str, new: str) -> None:
  """Gives a graph's result another name."""
  for names in [node.output for node in graph.node] + [node.input for node in graph.node]:
    names[:] = [new if name == old else name for name in names]
  graph.output[0].name = new
