import pytest
from PIL import Image

from ecanet_jax.cli import main
from ecanet_jax.cli.models import accuracy_plot
from ecanet_jax.models import network


@pytest.mark.parametrize('name, group', [
  ('resnet50', 'plain'), ('mec_c_e1', 'SE'), ('resnet50_se_var1', 'SE'),
  ('eca_mobilenetv2_k13', 'ECA'), ('resnet50_eca_ns_k3', 'ECA'), ('cbam_resnet50', 'others'),
])
def test_the_colour_of_a_network_is_its_attention(name, group):
  assert accuracy_plot.attention_group(network(name)) == group


def test_the_lines_are_of_registered_networks_with_a_published_top1():
  for _, _, names in accuracy_plot.LINES:
    for name in names:
      assert accuracy_plot.published_top1(network(name)) is not None


def test_models_draws_the_networks_that_match(tmp_path, capsys):
  path = tmp_path / 'networks.png'
  assert main(['models', 'mobilenetv2_*', f'--png={path}']) == 0
  assert 'networks.png: 2 networks' in capsys.readouterr().out
  with Image.open(path) as image:
    assert image.size == (1300, 780)


@pytest.mark.parametrize('arguments, message', [
  (['tiny_*', '--png={}/a.png'], 'no network that matches has a published top-1'),
  (['--png={}/a.jpg'], 'must end in .png'),
  (['--png={}/missing/a.png'], 'mkdir -p'),
])
def test_a_picture_that_cannot_be_drawn_is_one_line(tmp_path, capsys, arguments, message):
  assert main(['models', *(text.format(tmp_path) for text in arguments)]) == 2
  error = capsys.readouterr().err
  assert message in error and error.count('\n') == 1
