"""notebooks/quickstart.ipynb: its stored form, and a run from top to end."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import programs

NOTEBOOK = programs.ROOT / 'notebooks' / 'quickstart.ipynb'
SECONDS = 1200


@pytest.fixture
def notebook():
  return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def pictures_in(notebook):
  outputs = [output for cell in code_of(notebook) for output in cell.outputs]
  return [kind for output in outputs for kind in output.get('data', {}) if 'image/' in kind]


def test_it_is_stored_with_its_results(notebook):
  nbformat.validate(notebook)
  assert NOTEBOOK.stat().st_size < 300_000
  assert len(pictures_in(notebook)) == 4
  text = nbformat.writes(notebook)
  assert 'result: top-1' in text and 'widget-view' not in text
  assert not [word for word in ('/home/', '/tmp/', '/work/', 'Traceback') if word in text]


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
def test_it_runs_from_top_to_end(notebook, tmp_path):
  environment = {
    key: value for key, value in os.environ.items() if key not in ('XLA_FLAGS', 'JAX_PLATFORMS')
  }
  client = NotebookClient(
    notebook, timeout=SECONDS, resources={'metadata': {'path': str(tmp_path)}}
  )
  client.execute(env={**environment, 'PYTHONPATH': str(programs.ROOT)})
  assert len(pictures_in(notebook)) == 4
  errors = [cell.outputs for cell in code_of(notebook)
            if any('libtpu' in output.get('text', '') for output in cell.outputs)]
  assert not errors
