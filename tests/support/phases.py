"""train.py with one phase made slow and announced, for tests that interrupt it there.

python -m tests.support.phases PHASE[:SECONDS] ARGUMENTS OF train.py
"""

import sys
import time

from ecanet_jax import cli
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.training import trainer

STEP = 6  # batches before the slow one
MARK = 'reached the phase'


def mark() -> None:
  print(MARK, file=sys.stderr, flush=True)


def slow(phase: str, seconds: float) -> None:
  """Changes the trainer so that it marks the phase and takes its time there."""
  stream, evaluate, make_step = trainer.step_stream, trainer.evaluate, trainer.make_train_step
  save = Checkpoints.save

  def slow_stream(*arguments):
    for number, item in enumerate(stream(*arguments)):
      if phase in ('train', 'save', 'leave'):
        time.sleep(0.05)  # so that the training is not over before the signal comes
      if number == STEP and phase in ('train', 'leave'):
        mark()
      if number == STEP and phase == 'data':
        mark()
        time.sleep(seconds)
      yield item

  def slow_evaluate(step, variables, batches, *arguments):
    def slow_batches():
      mark()
      for batch in batches:
        time.sleep(seconds)
        yield batch

    return evaluate(step, variables, slow_batches(), *arguments)

  def slow_compile(*arguments, **keywords):
    step, compiled = make_step(*arguments, **keywords), []

    def first_step(*batch):
      if not compiled:
        mark()
        time.sleep(seconds)
        compiled.append(True)
      return step(*batch)

    return first_step

  def slow_leave(*arguments):
    mark()
    time.sleep(seconds)

  def marked_save(*arguments):
    save(*arguments)
    mark()  # it is being written

  trainer.step_stream = slow_stream
  if phase == 'evaluation':
    trainer.evaluate = slow_evaluate
  if phase == 'compile':
    trainer.make_train_step = slow_compile
  if phase == 'leave':
    trainer.Trainer._leave = slow_leave
  if phase == 'save':
    Checkpoints.save = marked_save


if __name__ == '__main__':
  PHASE, _, SECONDS = sys.argv.pop(1).partition(':')
  slow(PHASE, float(SECONDS or 0))
  sys.exit(cli.main(['train', *sys.argv[1:]]))
