"""What reliability costs: python -m tests.reliability.cost [--size=64 --batch=32]

One process and device, in turn without and with: the guard of every step, the manifest of every
checkpoint, and the checks for signals. Blocks of steps of EfficientNet-B0
with ECA, its recipe's optimizer and EMA, each with one save. Small images make the step short and
the share of the guard, whose work is by parameter, large. Prints medians.
"""

import argparse
import itertools
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from configs import eca_b0
from ecanet_jax.checkpoints import integrity
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.compile_cache import keep_compiled_programs
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training import step
from ecanet_jax.training.faults import nonfinite
from ecanet_jax.training.faults.preemption import Preemption
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state

# What a step asks, what it does then, and what a checkpoint gets.
GUARDS = {
  'without': (
    lambda loss, grad_norm, variables: jnp.isfinite(loss), lambda ok, new, old: new,
    lambda path: None,
  ),
  'with': (nonfinite.finite, nonfinite.choose, integrity.write),
}


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--size', type=int, default=64)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--rounds', type=int, default=8)
  parser.add_argument('--steps', type=int, default=16, help='from one save to the next')
  args = parser.parse_args()
  keep_compiled_programs()
  config = eca_b0.get_config()
  config.data.image_size, config.batch_size = args.size, args.batch
  mesh, model = sharding.make_mesh(1), create_from_config(config.model)
  schedule = make_schedule(config, 1000, 10000)
  tx, task = make_optimizer(config, schedule), Classification(config)
  start = lambda: init_state(model, tx, config, task.example(), mesh)
  random = np.random.RandomState(0)
  batch = sharding.put_batch({
    'image': random.randint(0, 256, (args.batch, args.size, args.size, 3)).astype(np.uint8),
    'label': random.randint(0, 1000, args.batch).astype(np.int32),
  }, mesh)
  stream, compiled, states = itertools.repeat(batch), {}, {}
  for name, (step.finite, step.choose, _) in GUARDS.items():
    compiled[name] = step.make_train_step(model, task, tx, schedule, config, mesh)
    states[name], _ = compiled[name](start(), batch)

  def run(name, preemption):
    for _ in range(args.steps):
      if preemption:
        preemption.enter('data')
      taken = next(stream)
      if preemption:
        preemption.check()
        preemption.enter('step')
      states[name], metrics = compiled[name](states[name], taken)
      if preemption:
        preemption.check()
    jax.block_until_ready((states[name], metrics))

  times = {name: {'steps': [], 'steps and a save': []} for name in GUARDS}
  with tempfile.TemporaryDirectory() as folder, Preemption(600) as preemption:
    checkpoints, number = Checkpoints(folder, keep=1), 0
    for turn in range(args.rounds + 1):
      for name, (_, _, integrity.write) in GUARDS.items():
        for what, found in times[name].items():
          began, number = time.perf_counter(), number + 1
          if what != 'steps':
            items = states[name].replace(step=jnp.int32(number)).items()
            checkpoints.save(number, items, {'config': {}}, None)
          run(name, preemption if name == 'with' else None)
          checkpoints.wait()
          if turn:  # the first warms up
            found.append((time.perf_counter() - began) / args.steps)
    files = [path for path in checkpoints.directory.rglob('*') if path.is_file()]
    print(f'a checkpoint has {sum(path.stat().st_size for path in files) / 1e6:.1f} MB')
    checkpoints.close()
  for what in times['with']:
    pairs = [times[name][what] for name in GUARDS]
    first, second = map(statistics.median, pairs)
    share = statistics.median(100 * (b / a - 1) for a, b in zip(*pairs))
    print(
      f'{args.steps} {what}: {1000 * first:.2f} ms a step without, {1000 * second:.2f} with '
      f'({len(pairs[0])} rounds in turn, median of the pairs {share:+.2f} %)', flush=True,
    )


if __name__ == '__main__':
  main()
