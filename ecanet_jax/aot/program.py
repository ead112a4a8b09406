"""The training or evaluation step of a config, compiled for a TPU or GPU that is not here."""

import dataclasses
import re
import time

import jax
from jax.sharding import Mesh
from jaxlib import _jax

from ecanet_jax.aot.batch import detection_batch, image_batch
from ecanet_jax.aot.topologies import chip_of, devices, versions
from ecanet_jax.config import schema
from ecanet_jax.data.augmentation import settings
from ecanet_jax.detection.from_config import make_network
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.evaluation.evaluate import evaluated, make_eval_step
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError, lookup, one_line
from ecanet_jax.tasks.choice import make_task
from ecanet_jax.training.accumulation import check_parts
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule, training_steps
from ecanet_jax.training.state import state_shapes
from ecanet_jax.training.step import make_train_step

IMAGES = 1_281_167  # of ImageNet's training split: the schedule's epochs are in steps
STEPS = ('train', 'eval')


# Without a device the compiler for GPUs cannot time its choices.
_OPTIONS = {'tpu': {}, 'cuda': {'xla_gpu_autotune_level': 0}}


class CompileError(Exception):
  """The compiler refuses the program; one line of text."""


class DoesNotFit(CompileError):
  """The program needs more memory than a chip has."""


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program and what its compiler says of it. Sizes and counts are those of one chip.

  Attributes:
    network: its registered name.
    topology: that it is compiled for.
    step: 'train' or 'eval'.
    compute_dtype: of the network, 'float32' or 'bfloat16'.
    chips: number of chips.
    batch_size: images of all chips in one step.
    image_size: height and width in pixels; one number if they are equal.
    text: optimised HLO, as `jax.stages.Compiled.as_text` gives it.
    memory: bytes of HBM: peak, arguments, outputs, temporaries, and aliased (outputs that are in
      the place of arguments).
    flops: floating-point operations; for a GPU those of the program before its compilation, because
      the compiler does not count inside of cuDNN's convolutions.
    bytes_accessed: by all operations, in HBM or in the chip's faster memory.
    versions: of JAX and of the compiler's package.
    seconds: that the compilation took.
  """

  network: str
  topology: str
  step: str
  compute_dtype: str
  chips: int
  batch_size: int
  image_size: int | tuple[int, int]
  text: str
  memory: dict[str, int]
  flops: float
  bytes_accessed: float
  versions: dict[str, str]
  seconds: float


def topology_mesh(topology: str) -> Mesh:
  """The described devices of a topology along the axis 'data', as `sharding.make_mesh` has them."""
  return sharding.mesh_of(devices(topology))


def lower_step(config, mesh: Mesh, step: str) -> tuple[jax.stages.Lowered, tuple[int, int]]:
  """The step that train.py or eval.py would run on these devices, lowered. It needs no data set.

  The schedule is that of a data set as large as ImageNet. With `loss.balanced` all classes have
  weight 1. With a `data.size_schedule` the images have the largest size.

  Args:
    config: the whole config.
    mesh: real or described devices.
    step: 'train', or 'eval' for the network with its BatchNorms folded if the config says so.

  Returns:
    The lowered program, and height and width of its images in pixels.

  Raises:
    UserError: a key that breaks its rule or does not fit the devices.
  """
  lookup(dict.fromkeys(STEPS), step, 'step')
  schema.check(config)
  sharding.check_batch('batch_size', config.batch_size, mesh)
  settings.check(config)
  check_parts(config, mesh)
  if config.data.resident and step == 'train':
    raise UserError(
      'data.resident=True puts a data set into the step, and there is none here: set '
      '--config.data.resident=False.'
    )
  if config.distill.weights and step == 'train':
    raise UserError(
      'distill.weights puts a teacher into the step, and its weights are not read here: set '
      "--config.distill.weights=''."
    )
  num_classes = config.model.num_classes
  weights = (1.0,) * num_classes if config.loss.balanced else tuple(config.loss.class_weights)
  model = make_network(config, num_classes, mesh)
  task = make_task(config, weights, model)
  steps_per_epoch = IMAGES / config.batch_size
  total_steps = training_steps(config, steps_per_epoch)
  schedule = make_schedule(config, steps_per_epoch, total_steps)
  tx = make_optimizer(config, schedule, model.is_frozen, model.stages_behind)
  if step == 'eval':
    compute = make_eval_step(evaluated(model, config), task, mesh)
    state = state_shapes(evaluated(model, config), tx, config, task.example()).for_evaluation()
  else:
    compute = make_train_step(model, task, tx, schedule, config, mesh)
    state = state_shapes(model, tx, config, task.example())
  if isinstance(model, Detector):
    batch, size = detection_batch(config, step, task.with_masks)
  else:
    batch, size = image_batch(config, step, steps_per_epoch, total_steps)
  return compute.lower(state, batch), size


def compile_lowered(lowered: jax.stages.Lowered, platform: str = 'tpu') -> jax.stages.Compiled:
  """Compiles a lowered program for a 'tpu' or 'cuda' mesh; minutes for a training step.

  Raises:
    CompileError: it calls back to the host, or the compiler refuses it.
    DoesNotFit: a TPU's compiler says so. That of GPUs does not look.
  """
  if re.search(r'stablehlo\.(send|recv)\b', lowered.as_text()):
    raise CompileError('the step calls back into Python on the host.')
  cached = jax.config.jax_enable_compilation_cache
  jax.config.update('jax_enable_compilation_cache', False)  # it loads onto devices that are here
  try:
    return lowered.compile(compiler_options=_OPTIONS[platform])
  except jax.errors.JaxRuntimeError as error:
    raise _refusal(str(error)) from error
  finally:
    jax.config.update('jax_enable_compilation_cache', cached)


def compile_step(config, topology: str, step: str) -> Program:
  """Lowers and compiles the step of a config; see `lower_step`.

  Raises:
    UserError: an unknown topology or step, no compiler, or a key that does not fit the devices.
    CompileError: the compiler refuses the program.
    DoesNotFit: it needs more memory than a chip has.
  """
  mesh, chip = topology_mesh(topology), chip_of(topology)
  lowered, size = lower_step(config, mesh, step)
  began = time.monotonic()
  compiled = compile_lowered(lowered, chip.platform)
  seconds = time.monotonic() - began
  memory = compiled.memory_analysis()
  if memory.peak_memory_in_bytes > chip.hbm:
    raise _does_not_fit(f'{memory.peak_memory_in_bytes / 2**30:.2f}G', f'{chip.hbm / 2**30:.2f}G')
  flops, bytes_accessed = _cost(lowered, compiled, mesh.devices.size)
  return Program(
    network=config.model.name, topology=topology, step=step, compute_dtype=config.compute_dtype,
    chips=mesh.devices.size, batch_size=config.batch_size,
    image_size=size[0] if size[0] == size[1] else size,
    text=compiled.as_text(),
    memory={
      'peak': memory.peak_memory_in_bytes, 'arguments': memory.argument_size_in_bytes,
      'outputs': memory.output_size_in_bytes, 'temporaries': memory.temp_size_in_bytes,
      'aliased': memory.alias_size_in_bytes,
    },
    flops=flops, bytes_accessed=bytes_accessed, versions=versions(topology), seconds=seconds,
  )


def _cost(
  lowered: jax.stages.Lowered, compiled: jax.stages.Compiled, chips: int
) -> tuple[float, float]:
  """FLOPs and bytes accessed of one chip."""
  if cost := compiled.cost_analysis():
    return cost['flops'], cost['bytes accessed']
  # JAX has no cost analysis for a GPU that is not there; XLA's own needs a client of any kind.
  client = jax.devices('cpu')[0].client
  before = _jax.hlo_module_cost_analysis(client, lowered.compiler_ir('hlo').as_hlo_module())
  (module,) = compiled.runtime_executable().hlo_modules()
  after = _jax.hlo_module_cost_analysis(client, module)
  return before['flops'] / chips, after['bytes accessed']


def _does_not_fit(needed: str, available: str) -> DoesNotFit:
  return DoesNotFit(f'does not fit: it needs {needed} of HBM and a chip has {available}.')


def _refusal(text: str) -> CompileError:
  """A compiler's error as one line."""
  if match := (
    re.search(r'Used ([\d.]+\w) of ([\d.]+\w) hbm', text)
    or re.search(r'\(([\d.]+\w)\) exceeds available HBM \(([\d.]+\w)\)', text)
  ):
    return _does_not_fit(match[1], match[2])
  if match := re.search(r'Custom emitter for (\S+) not found', text):
    return CompileError(f'the custom call {match[1]!r} is for another platform.')
  return CompileError(f'the compiler refuses it: {one_line(ValueError(text), 300)}')
