"""bfloat16 compute on float32 parameters."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from configs import smoke
from ecanet_jax.checkpoints.files import load_weights
from ecanet_jax.runtime import sharding
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer


@pytest.mark.slow
def test_bfloat16_trains_near_float32(tmp_path, monkeypatch):
  mesh = jax.make_mesh((1,), ('data',), (AxisType.Auto,), devices=jax.devices()[:1])
  monkeypatch.setattr(sharding, 'make_mesh', lambda: mesh)
  curves = {}
  for dtype in ('float32', 'bfloat16'):
    config = smoke.get_config()
    config.compute_dtype, config.epochs, config.log_steps = dtype, 3.0, 1
    config.eval_epochs, config.tensorboard, config.data.image_size = 0.0, False, 16
    Trainer(config, tmp_path / dtype).run()
    lines = read_metrics(tmp_path / dtype)
    curves[dtype] = np.array([line['train/loss'] for line in lines if 'train/loss' in line])
  assert curves['bfloat16'][-5:].mean() < curves['bfloat16'][:2].mean()
  np.testing.assert_allclose(curves['bfloat16'], curves['float32'], rtol=0.02)
  _, variables = load_weights(tmp_path / 'bfloat16')
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype('float32')}
