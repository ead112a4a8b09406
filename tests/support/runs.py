"""What a training left in its directory: its losses, the arrays of its last checkpoint."""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from ecanet_jax.training.logging.writers import read_metrics


def losses(workdir):
  """The training loss by step."""
  lines = read_metrics(workdir)
  return {line['step']: line['train/loss'] for line in lines if 'train/loss' in line}


def arrays(workdir):
  """Every array of the newest checkpoint, by item and key."""
  root = pathlib.Path(workdir) / 'checkpoints'
  step = max(int(path.name) for path in root.iterdir() if path.name.isdigit())
  found = {'step': step}
  items = ('variables', 'ema', 'optimizer')  # without averaging there is no 'ema'
  for item in (name for name in items if (root / str(step) / name).exists()):
    with ocp.PyTreeCheckpointer() as reader:  # to the host: other devices may have saved it
      tree = reader.metadata(root / str(step) / item).item_metadata.tree
      to_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
      restored = reader.restore(root / str(step) / item, restore_args=to_host)
    flat = ocp.tree.to_flat_dict(restored, sep='/')
    found |= {f'{item}/{key}': np.asarray(value) for key, value in flat.items()}
  return found


def figures(workdir):
  """The losses and evaluations in metrics.jsonl: (step, key, value)."""
  keys = ('train/loss', 'eval/top1', 'eval/loss', 'eval/top1_count')
  return [
    (line['step'], key, line[key]) for line in read_metrics(workdir) for key in keys if key in line
  ]


def assert_same_run(workdir, expected):
  """Two trainings ended with the same bits and logged the same figures."""
  ours, theirs = arrays(workdir), arrays(expected)
  assert ours.keys() == theirs.keys()
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
  assert sorted(figures(workdir)) == sorted(figures(expected))
  assert not list((workdir / 'checkpoints').glob('*tmp*'))
