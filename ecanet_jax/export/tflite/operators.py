"""The operators in a TFLite file."""

from collections import Counter

from ecanet_jax.export.packages import require

# Operators that the runtime on a phone lacks: own ones of a library, TensorFlow's, and StableHLO's.
_FOREIGN = ('CUSTOM', 'STABLEHLO_')


def count_operators(data: bytes) -> Counter[str]:
  """Name -> how often it occurs, in all graphs of a file's content."""
  schema = require('ai_edge_litert.schema_py_generated', 'ai-edge-litert', 'tflite')
  names = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)
  }
  model = schema.Model.GetRootAs(data, 0)
  codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
  # Numbers below 127 were once stored in a field of a byte.
  kinds = [names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
  graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
  return Counter(
    kinds[graph.Operators(i).OpcodeIndex()]
    for graph in graphs for i in range(graph.OperatorsLength())
  )


def unknown_operators(operators: Counter[str]) -> list[str]:
  """Those that are not TFLite's own."""
  return sorted(name for name in operators if name.startswith(_FOREIGN))
