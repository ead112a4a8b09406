"""Writes the README.md of an exported folder: network, accuracy, preprocessing, how to load it."""

from collections.abc import Mapping
from typing import Any

from ecanet_jax.data.preprocessing import describe
from ecanet_jax.models.computation import FREE_FIELDS

NOT_MEASURED = 'not measured'


def card(
  config: Mapping[str, Any], parameters: int, *, in_timm: bool, data_name: str = '',
  evaluation: str = '',
) -> str:
  """Returns the text of README.md.

  Args:
    config: the folder's config.json.
    parameters: how many the network has.
    in_timm: timm has the network.
    data_name: the training data; '' = not known.
    evaluation: the accuracy and the data that it was measured on; '' = not measured.
  """
  ours, given = config['ecanet_jax'], config['pretrained_cfg']
  data = {
    'mean': given['mean'], 'std': given['std'], 'interpolation': given['interpolation'],
    'crop_fraction': given['crop_pct'], 'image_size': given['input_size'][-1],
  }
  overrides = {
    key: value for key, value in ours['model'].items()
    if key not in FREE_FIELDS and value not in ({}, [])  # 'name' is one of them
  }
  rows = {
    'network': f'`{ours["model"]["name"]}` ({ours["source"]})',
    'overrides': ', '.join(f'`{key}={value}`' for key, value in overrides.items()),
    'parameters': f'{parameters:,}',
    'classes': str(config['num_classes']),
    'training data': data_name or 'not known',
    'evaluation': evaluation or NOT_MEASURED,
    'images': describe(data),
    'written by': f'ecanet_jax {ours["version"]}',
  }
  table = '\n'.join(f'| {key} | {value} |' for key, value in rows.items() if value)
  timm = (
    'import timm\n'
    "model = timm.create_model('local-dir:DIRECTORY', pretrained=True).eval()\n"
    if in_timm else '# timm has no such network\n'
  )
  return f'''---
library_name: {'timm' if in_timm else 'ecanet_jax'}
tags: [image-classification]
---
# {ours['model']['name']}

| | |
|---|---|
{table}

In PyTorch:

```python
{timm}```

In JAX, with images `[B, H, W, 3]` prepared as above:

```python
import ecanet_jax
model, variables = ecanet_jax.load_pretrained('DIRECTORY')
logits = model.apply(variables, images, train=False)
```

config.json has the sha256 of model.safetensors and of each of its arrays.
'''
