"""What the guard and the manifest cost: python -m tests.reliability.cost [--size=64 --batch=32]

One process, in turn with and without, on one device: steps of EfficientNet-B0 with ECA and its
recipe's optimizer and EMA; then blocks of steps with one save in each. Prints medians; small images
make the step short and the share of the guard, whose work is by parameter, large.
"""

import argparse
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from configs import eca_b0
from ecanet_jax.compilation import keep_compiled_programs
from ecanet_jax.models import create_from_config
from ecanet_jax.training import guard, manifest, sharding, step
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.saves import Checkpoints
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.task import Classification


def whole(ok, new, old):
  """The same with a condition around it, for comparison."""
  return jax.lax.cond(ok, lambda: new, lambda: old)


CHOICES = {'without': lambda ok, new, old: new, 'where': guard.choose, 'cond': whole}


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--size', type=int, default=64)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--rounds', type=int, default=12)
  parser.add_argument('--steps', type=int, default=4, help='in a round')
  parser.add_argument('--save_steps', type=int, default=16, help='from one save to the next')
  parser.add_argument('--choices', default='without,where')
  args = parser.parse_args()
  keep_compiled_programs()
  config = eca_b0.get_config()
  config.data.image_size, config.batch_size = args.size, args.batch
  mesh, model = sharding.make_mesh(1), create_from_config(config.model)
  schedule = make_schedule(config, 1000, 10000)
  tx, task = make_optimizer(config, schedule), Classification(config)
  start = jax.jit(
    lambda: init_state(model, tx, config, task.example()), out_shardings=sharding.replicated(mesh)
  )
  random = np.random.RandomState(0)
  batch = sharding.put_batch({
    'image': random.randint(0, 256, (args.batch, args.size, args.size, 3)).astype(np.uint8),
    'label': random.randint(0, 1000, args.batch).astype(np.int32),
  }, mesh)
  compiled, states = {}, {}
  for name in args.choices.split(','):
    step.choose, states[name] = CHOICES[name], start()
    compiled[name] = step.make_train_step(model, task, tx, schedule, config, mesh)
    states[name], metrics = compiled[name](states[name], batch)
    jax.block_until_ready(metrics)

  def run(name, steps):
    began = time.perf_counter()
    for _ in range(steps):
      states[name], metrics = compiled[name](states[name], batch)
    jax.block_until_ready((states[name], metrics))
    return (time.perf_counter() - began) / steps

  times = {name: [] for name in compiled}
  for _ in range(args.rounds):
    for name in compiled:
      times[name].append(run(name, args.steps))
  report('step', times)

  write, blocks = manifest.write, {'without manifest': [], 'manifest': []}
  alone = []
  with tempfile.TemporaryDirectory() as folder:
    checkpoints, number = Checkpoints(folder, keep=1), 0
    for _ in range(max(args.rounds // 3, 2)):
      for name, choice in (('without manifest', lambda path: None), ('manifest', write)):
        manifest.write, number = choice, number + 1
        began = time.perf_counter()
        state = states['where'].replace(step=jnp.int32(number))
        checkpoints.save(state, {'config': {}}, None)
        run('where', args.save_steps)
        checkpoints.wait()
        blocks[name].append((time.perf_counter() - began) / args.save_steps)
      began = time.perf_counter()
      write(checkpoints.directory / str(number))
      alone.append(time.perf_counter() - began)
    size = sum(path.stat().st_size for path in checkpoints.directory.rglob('*') if path.is_file())
    checkpoints.close()
  report(f'step, a save in every {args.save_steps}', blocks)
  print(f'a manifest alone: {statistics.median(alone):.3f} s for {size / 1e6:.1f} MB')


def report(what, times):
  first = statistics.median(next(iter(times.values())))
  for name, values in times.items():
    middle = statistics.median(values)
    print(
      f'{what}, {name}: {1000 * middle:.2f} ms (median of {len(values)}, {1000 * min(values):.2f} '
      f'to {1000 * max(values):.2f}), {100 * (middle / first - 1):+.2f} %', flush=True,
    )


if __name__ == '__main__':
  main()
