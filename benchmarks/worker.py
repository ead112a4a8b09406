"""One side of `python -m benchmarks`, in a process of its own.

Started as `python -m benchmarks.worker SIDE JSON`. It builds and compiles one network in one mode,
and reports that as a JSON line on standard output. Then it answers each line `{"do": NAME, ...}` of
standard input with a JSON line, until its input ends.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
from typing import Any

from benchmarks import machine

# Module and class. An instance has `device`, `run(calls)` and the methods for further commands.
SIDES = {
  'ours': ('benchmarks.ours', 'Ours'),
  'timm': ('benchmarks.peer', 'Timm'),
  'compiled': ('benchmarks.peer', 'CompiledTimm'),
  'bandwidth': ('benchmarks.roofline', 'Bandwidth'),
  'jax': ('benchmarks.latency.runtimes', 'Jax'),
  'litert': ('benchmarks.latency.runtimes', 'LiteRT'),
  'litert_int8': ('benchmarks.latency.runtimes', 'LiteRTInt8'),
  'onnxruntime': ('benchmarks.latency.runtimes', 'OnnxRuntime'),
  'openvino': ('benchmarks.latency.runtimes', 'OpenVINO'),
  'torch': ('benchmarks.latency.runtimes', 'PyTorch'),
  'inference': ('benchmarks.detection.ours', 'Inference'),
  'train': ('benchmarks.detection.ours', 'Training'),
  'torchvision_inference': ('benchmarks.detection.peer', 'Inference'),
  'torchvision_train': ('benchmarks.detection.peer', 'Training'),
}
PACKAGES = {
  'ours': ('jax', 'jaxlib', 'flax'), 'timm': ('torch', 'timm'), 'compiled': ('torch', 'timm'),
  'bandwidth': (), 'jax': ('jax', 'jaxlib', 'flax'), 'litert': ('ai-edge-litert',),
  'litert_int8': ('ai-edge-litert',), 'onnxruntime': ('onnxruntime',), 'openvino': ('openvino',),
  'torch': ('torch', 'timm'), 'inference': ('jax', 'jaxlib', 'flax'),
  'train': ('jax', 'jaxlib', 'flax'), 'torchvision_inference': ('torch', 'torchvision'),
  'torchvision_train': ('torch', 'torchvision'),
}
# Texts of out-of-memory errors: XLA, PyTorch on GPU and CPU, C++, cuDNN.
_OUT_OF_MEMORY = (
  'RESOURCE_EXHAUSTED', 'out of memory', 'Out of memory', "can't allocate memory", 'bad_alloc',
  'not enough memory', 'Unable to allocate', 'CUDNN_STATUS_ALLOC_FAILED', 'Cannot allocate memory',
)


def is_out_of_memory(text: str) -> bool:
  """Whether an error's text means that memory ran out."""
  return any(part in text for part in _OUT_OF_MEMORY)


def turn(program, calls: int) -> dict[str, float]:
  """Seconds of `calls` calls, after one untimed call that fills the caches."""
  program.run(1)
  start = time.perf_counter()
  program.run(calls)
  return {'seconds': time.perf_counter() - start}


def main(side: str, setting: dict[str, Any]) -> int:
  """Answers the parent until it closes our input; returns the exit status."""
  # Libraries may print, so standard output becomes standard error; answers go to a copy of it.
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)

  def answer(**message):
    print(json.dumps(message), file=answers, flush=True)

  machine.end_with_parent()
  machine.limit_memory()
  if setting['threads']:
    os.sched_setaffinity(0, machine.cpus()[: setting['threads']])
  try:
    start = time.perf_counter()
    module, name = SIDES[side]
    program = getattr(importlib.import_module(module), name)(setting)
    program.run(2)
    answer(
      device=program.device, start_seconds=time.perf_counter() - start,
      versions={package: importlib.metadata.version(package) for package in PACKAGES[side]},
    )
    for line in sys.stdin:
      command = json.loads(line)
      do = command.pop('do')
      answer(**(turn(program, **command) if do == 'turn' else getattr(program, do)(**command)))
  except Exception as error:
    traceback.print_exc()
    line = (str(error).strip().splitlines() or [''])[0]
    short = isinstance(error, MemoryError) or is_out_of_memory(str(error))
    answer(**{'out_of_memory' if short else 'failed': f'{type(error).__name__}: {line}'})
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
