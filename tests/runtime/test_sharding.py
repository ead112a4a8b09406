"""An image has the same row of the global batch on any number of hosts."""

import importlib.util

import jax
import numpy as np
import pytest

from configs import smoke
from ecanet_jax import data
from ecanet_jax.aot import topologies
from ecanet_jax.data.types import Shard
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from tests.support.small_convnet import SmallConvNet

# Two hosts of four devices; the torus goes through both in turn. JAX lists pods like that.
TORUS = (0, 1, 4, 5, 2, 3, 6, 7)
HOSTS, BATCH = 2, 64


@pytest.mark.parametrize(('topology', 'hosts'), [
  ('v5e:16x16', 64), ('v4:4x4x4', 16), ('v4:2x2x4', 4),
])
@pytest.mark.parametrize('parts', [1, 4])
def test_rows_of_a_pod(topology, hosts, parts):
  if importlib.util.find_spec('libtpu') is None:
    pytest.skip('needs libtpu: pip install libtpu==0.0.42.1')
  devices = topologies.devices(topology)
  assert len({device.process_index for device in devices}) == hosts
  mesh = sharding.mesh_of(devices[::-1])
  batch = 2 * parts * len(devices)
  rows = np.arange(batch).reshape(parts, -1) if parts > 1 else np.arange(batch)
  placed = sharding.by_image(mesh, parts).devices_indices_map(rows.shape)
  of_host = {host: [] for host in range(hosts)}
  for device in mesh.devices:  # in the order in which a host's rows are given to its devices
    of_host[device.process_index].append(rows[placed[device]])
  for host, pieces in of_host.items():
    ours = np.concatenate(pieces, axis=-1).ravel()
    np.testing.assert_array_equal(ours, Shard(host, hosts, parts).places(batch))


@pytest.fixture
def two_hosts(monkeypatch):
  """The eight simulated devices as those of two hosts, listed along the torus."""
  devices = jax.devices()
  monkeypatch.setattr(sharding, 'host_of', lambda device: device.id // 4)
  monkeypatch.setattr(jax, 'devices', lambda: [devices[number] for number in TORUS])


def trained(mesh, put, steps=3):
  """State and metrics of a training with dropout, mixup and groups of BatchNorm."""
  config = smoke.get_config()
  config.batch_size, config.data.image_size, config.mix.mixup_alpha = BATCH, 16, 0.5
  config.schedule.warmup_epochs = 0.1
  model, task = SmallConvNet(bn_groups=4, dropout=0.5), Classification(config)
  schedule = make_schedule(config, 8, 64)
  tx = make_optimizer(config, schedule)
  state = init_state(model, tx, config, task.example(), mesh)
  step, metrics = make_train_step(model, task, tx, schedule, config, mesh), []
  dataset = data.open(config)
  shares = [dataset.train(0, steps, host=host, num_hosts=HOSTS) for host in range(HOSTS)]
  for batches in zip(*shares, strict=True):
    state, values = step(state, put(batches, mesh))
    metrics.append(values)
  return jax.device_get((state, metrics))


def put_together(batches, mesh):
  joined = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
  return sharding.put_batch(joined, mesh)


def put_by_host(batches, mesh):
  """Places each host's rows on its own devices in turn, as `put_batch` does on a pod."""
  rows, placed, given = BATCH // mesh.devices.size, sharding.by_image(mesh), {}
  for key in batches[0]:
    pieces, used = [], [0] * HOSTS
    for device in mesh.devices:
      host = sharding.host_of(device)
      piece = batches[host][key][rows * used[host]:][:rows]
      pieces.append(jax.device_put(piece, device))
      used[host] += 1
    shape = (BATCH, *batches[0][key].shape[1:])
    given[key] = jax.make_array_from_single_device_arrays(shape, placed, pieces)
  return given


def largest_difference(found, expected):
  pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
  return max(float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) for a, b in pairs)


def test_random_layers_mixing_and_groups_are_those_of_one_host(two_hosts):
  expected = trained(sharding.make_mesh(1), put_together)
  mesh = sharding.make_mesh()
  assert [device.id for device in mesh.devices] == list(range(8))
  assert largest_difference(trained(mesh, put_by_host), expected) < 1e-5
  torus = jax.sharding.Mesh(np.array(jax.devices()), ('data',), axis_types=mesh.axis_types)
  assert largest_difference(trained(torus, put_by_host), expected) > 1e-3  # the test sees it
