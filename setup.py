"""What pyproject.toml cannot say: the recipes in the package, the extras, the page for PyPI."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
# A relative link or picture of README.md, which leads nowhere on PyPI.
RELATIVE = re.compile(r'(!?)\[([^\]]*)\]\((?!https?://)[^)]*\)')


def requirements(part: str) -> list[str]:
  """The requirements in a part of requirements.txt."""
  lines = (line.partition('#')[0].strip() for line in part.splitlines())
  return [line for line in lines if line]


def page(text: str) -> str:
  """README.md without its relative pictures, and with words for its relative links."""
  return RELATIVE.sub(lambda found: '' if found[1] else found[2], text)


base, train = (HERE / 'requirements.txt').read_text().split('# The extra `train`')
setup(
  packages=[*find_packages(include=['ecanet_jax', 'ecanet_jax.*']), 'ecanet_jax.configs'],
  package_dir={'ecanet_jax.configs': 'configs'},
  long_description=page((HERE / 'README.md').read_text()),
  long_description_content_type='text/markdown',
  install_requires=requirements(base),
  extras_require={
    'train': requirements(train.partition('\n')[2]),
    'cuda12': ['jax[cuda12]'],
    'cuda13': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    # Compiles for TPUs on a CPU; a pair that fits.
    'aot': ['jax==0.10.2', 'libtpu==0.0.42.1'],
    # Compiles for GPUs on a CPU, without the libraries that a GPU needs at run time.
    'aot-gpu': [
      'jax==0.10.2', 'jax-cuda12-plugin==0.10.2', 'jax-cuda12-pjrt==0.10.2',
      'nvidia-cuda-runtime-cu12==12.9.79',
    ],
    'onnx': ['onnx>=1.20', 'onnxruntime>=1.23'],  # `export --format=onnx`
    'detection': ['pycocotools>=2.0.10'],
    # `export --format=tflite`; the converter's interface is not stable, so its version is exact.
    'tflite': ['litert-converter==0.5.0', 'litert-quantizer==0.11.0', 'ai-edge-litert==2.3.0'],
    'torch': ['torch>=2.10', 'timm>=1.0.31'],
    'hub': ['huggingface_hub>=0.30'],
    'wandb': ['wandb>=0.19'],
    'mlflow': ['mlflow>=2.20'],
  },
)
