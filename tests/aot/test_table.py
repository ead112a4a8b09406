"""The table of docs/accelerators.md."""

import json
import subprocess

import pytest

from ecanet_jax import cli
from ecanet_jax.aot import table
from ecanet_jax.aot.topologies import chip_of
from ecanet_jax.cli import compile as command
from ecanet_jax.cli.config import load_config
from ecanet_jax.models import create_from_config
from ecanet_jax.runtime.errors import UserError

TPU = {
  'cycles': {'copies': 10**6, 'rest': 2 * 10**6}, 'memory': {'peak': 3.5e9},
  'bytes_accessed': 46.5e9, 'flops': 0.73e12, 'estimated_images_per_second_per_chip': 2216.4,
  'roofline_images_per_second_per_chip': 4500.0, 'versions': {'jax': '0.10.2', 'libtpu': '0.0.42'},
  'date': '2026-11-27',
}
GPU = TPU | {
  'cycles': {}, 'estimated_images_per_second_per_chip': None, 'date': '2026-11-28',
  'versions': {'jax': '0.10.2', 'jax_cuda12_plugin': '0.10.2'},
}
PAGE = f'before\n{table.BEGIN}\nold\n{table.END}\nafter\n'


@pytest.fixture
def checkout(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'docs').mkdir()
  table.PAGE.write_text(PAGE)
  return tmp_path


@pytest.fixture
def ran(monkeypatch):
  """The commands that were run; each leaves its figures, but for 'b0' it fails."""
  commands = []

  def run(arguments, **_):
    commands.append(arguments)
    if any('b0.v5e.train' in text and '_b0' not in text for text in arguments):
      raise subprocess.CalledProcessError(1, arguments)
    (file,) = (text.removeprefix('--json=') for text in arguments if text.startswith('--json='))
    table.pathlib.Path(file).write_text(json.dumps(TPU))

  monkeypatch.setattr(command.subprocess, 'run', run)
  return commands


def test_every_entry_can_be_compiled():
  for entry in table.entries('*'):
    chip_of(table.TOPOLOGIES[entry.chip])
  for network in table.NETWORKS:
    arguments = table.Entry(network, 'v5e', 'train').arguments
    (path,) = (text.partition('=')[2] for text in arguments if text.startswith('--config='))
    create_from_config(load_config(path, [a for a in arguments if a.startswith('--config.')]).model)


def test_patterns():
  assert [entry.name for entry in table.entries('eca_*.v5e.train')] == [
    'eca_b0.v5e.train', 'eca_mobilenetv2.v5e.train', 'eca_resnet50.v5e.train'
  ]
  assert len(table.entries('*')) == 8 * 5 * 2
  with pytest.raises(UserError, match=r'--table=v7 is no entry of the table: names are NETWORK.CH'):
    table.entries('v7')


def test_text():
  text = table.table([
    (table.Entry('eca_b0', 'v5e', 'train'), TPU), (table.Entry('b0', 'h100', 'eval'), GPU),
  ])
  assert text == table.HEAD + (
    '| EfficientNet-B0 with ECA | v5e | training | 3.50 | 46.50 | 0.730 | 3.0 | 2,216 | 4,500 |\n'
    '| EfficientNet-B0 without attention | h100 | evaluation | 3.50 | 46.50 | 0.730 | none | none '
    '| 4,500 |\n'
    '\njax 0.10.2, jax_cuda12_plugin 0.10.2, libtpu 0.0.42; 2026-11-27 to 2026-11-28.\n'
  )


def test_it_is_made_in_parts(checkout, ran, capsys):
  assert cli.main(['compile', '--table=eca_*.v5e.train']) == 0
  assert len(ran) == 3
  assert ran[0][1:4] == ['-m', 'ecanet_jax', 'compile']
  page = table.PAGE.read_text()
  assert page.startswith(f'before\n{table.BEGIN}\n| network') and 'old' not in page
  assert page.endswith(f'2026-11-27.\n{table.END}\nafter\n')
  assert cli.main(['compile', '--table=eca_*.train']) == 0
  assert len(ran) == 15  # not the three that have figures
  assert cli.main(['compile', '--table=eca_*.train']) == 0
  assert len(ran) == 15
  assert capsys.readouterr().out.endswith('docs/accelerators.md: 15 rows\n')
  assert cli.main(['compile', '--table=eca_*.v5e.train', '--again']) == 0
  assert len(ran) == 18


def test_one_that_fails_does_not_stop_the_others(checkout, ran, capsys):
  assert cli.main(['compile', '--table=*b0.v5e.train']) == 1
  assert len(ran) == 3
  assert 'fault: b0.v5e.train: ' in capsys.readouterr().err
  assert table.PAGE.read_text().count('| v5e |') == 2


def test_where_it_cannot_be_written(checkout, capsys):
  table.PAGE.write_text('no markers')
  assert cli.main(['compile', '--table']) == 2
  assert 'has no place for the table: put the lines <!-- ' in capsys.readouterr().err
  table.PAGE.unlink()
  assert cli.main(['compile', '--table']) == 2
  assert 'which is not here: run it in a checkout.' in capsys.readouterr().err


def test_the_page_has_what_the_figures_say():
  rows = [(each, json.loads(each.file.read_text())) for each in table.entries('*')
          if each.file.exists()]
  assert f'{table.BEGIN}\n{table.table(rows)}{table.END}' in table.PAGE.read_text()
