"""Workflows, hooks, citation and model index: they parse, and what they name is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import saga_mm

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))
TARGETS = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
CONFIGS = {path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/[!_]*/*.py')}


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow['jobs'].values() for step in job['steps']]


def commands_of(workflow: dict[str, Any]) -> str:
    return '\n'.join(step.get('run', '') for step in steps_of(workflow))


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path: Path):
    workflow = yaml.safe_load(path.read_text())
    named = re.findall(r'\bmake ([\w-]+)', commands_of(workflow))
    assert named and set(named) <= TARGETS
    assert all(set(step) & {'run', 'uses'} for step in steps_of(workflow))
    assert all(re.fullmatch(r'[\w./-]+@v\d+', step['uses']) for step in steps_of(workflow) if 'uses' in step)


def test_the_workflow_lints_tests_documents_and_packs():
    workflow = load('.github/workflows/ci.yml')
    assert {'lint', 'test', 'docs', 'wheel'} <= set(re.findall(r'\bmake ([\w-]+)', commands_of(workflow)))
    matrix = workflow['jobs']['test']['strategy']['matrix']
    assert matrix == {'os': ['ubuntu-latest', 'macos-latest'], 'python': ['3.10', '3.11', '3.12', '3.13']}


def test_the_issue_form_asks_for_the_doctor():
    form = load('.github/ISSUE_TEMPLATE/bug.yml')
    asked = [part for part in form['body'] if 'saga-mm doctor' in part['attributes']['label']]
    assert len(asked) == 1 and asked[0]['validations']['required']
    assert len({part['id'] for part in form['body']}) == len(form['body'])


def test_pre_commit_runs_the_ruff_of_the_environment():
    pins = re.search(r'^ruff==(\S+)$', (ROOT / 'requirements-common.txt').read_text(), re.MULTILINE)
    ruff = next(repo for repo in load('.pre-commit-config.yaml')['repos'] if 'ruff' in repo['repo'])
    assert ruff['rev'] == f'v{pins[1]}'
    assert [hook['id'] for hook in ruff['hooks']] == ['ruff-check', 'ruff-format']


def test_the_citation_is_of_this_version():
    citation = load('CITATION.cff')
    assert citation['cff-version'] == '1.2.0' and citation['authors'] and citation['message']
    assert citation['version'] == saga_mm.__version__


def test_the_model_index_lists_every_recipe():
    index = load('model-index.yml')
    collections = {collection['Name'] for collection in index['Collections']}
    models = [model for path in index['Import'] for model in load(path)['Models']]
    listed = {model['Config'] for model in models}
    assert listed == CONFIGS, f'write into configs/FOLDER/metafile.yml, or take out: {sorted(listed ^ CONFIGS)}'
    for model in models:
        assert model['Name'] == Path(model['Config']).stem and model['In Collection'] in collections
        assert set(model['Metadata']) & {'Epochs', 'Iterations'} and model['Metadata']['Training Data']
    assert all((ROOT / collection['README']).exists() for collection in index['Collections'])
