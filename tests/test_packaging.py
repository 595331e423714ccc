"""What a user installs: the wheel, used from a scratch folder, and the pins and commands of the repository."""

import os
import re
import subprocess
import sys
import zipfile
from collections import defaultdict
from functools import cache
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical
from PIL import Image

from saga_mm.cli.extras import INSTALLS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']

CONFIG = """
backbone = dict(type='saga_mm.PVTv2', arch='b0', attention='saga', out_indices=(0, 1, 2, 3))
neck = dict(type='FPN', in_channels=[32, 64, 160, 256], out_channels=32, num_outs=5)
"""
BUILD = """
import sys
import torch
from mmengine.config import Config
import {library}.models
from {library}.registry import MODELS

{before}
config = Config.fromfile('scratch.py')
backbone, neck = MODELS.build(config.backbone).eval(), MODELS.build(config.neck)
with torch.no_grad():
    print([tuple(map.shape[-2:]) for map in neck(backbone(torch.zeros(1, 3, 70, 96)))])
print(sys.modules['saga_mm'].__file__)
"""
# all that is not in a wheel's dependencies
BARE = """
import sys

for name in {blocked}:
    sys.modules[name] = None
import torch
import saga_mm
from saga_mm.analysis import gate_maps as gates, rank_report as ranks
from saga_mm.analysis.subjects import build_backbone
from saga_mm.cli.main import main
from saga_mm.loading.checkpoint import make_files_safe
from saga_mm.loading.quiet import silence_noise
from saga_mm.registry import MODELS
from saga_mm.runs.export import ExportOptions, find_subject

make_files_safe()
silence_noise()
for backbone in (MODELS.build(dict(type='saga_mm.PVTv2', arch='b0')), saga_mm.create_backbone('saga_pvt_v2_b0')):
    with torch.no_grad():
        assert len(backbone.eval()(torch.zeros(1, 3, 64, 64))) == 4
assert not main(['flops', 'saga_pvt_v2_b0', '--size', '32', '32'])
assert gates and ranks and build_backbone('saga_pvt_v2_b0')
assert find_subject(ExportOptions('tiny')).graph and find_subject(ExportOptions('saga_pvt_v2_b0')).graph
assert not main(['enhance', '-o', 'night.png'])
assert not main(['enhance', 'night.png', '-o', 'again.png', '--weights', 'tiny', '--compare'])
print(saga_mm.__file__)
"""
# operators of this package are imported with it
UNTOLD = "assert 'saga_mm' not in sys.modules or hasattr(sys.modules['mmcv._ext'], 'STANDS_IN')"
WHOLE = """
import saga_mm
from pathlib import Path
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

configs = Path(saga_mm.__file__).parent / 'configs'
for folder in configs.glob('[!_]*/'):
    Config.fromfile(min(folder.glob('*.py')))
config = Config.fromfile(configs / 'saga_maskrcnn.py')
init_default_scope(config.default_scope)
with torch.device('meta'):
    print(type(MODELS.build(config.model).backbone).__module__)
"""


def pins(name: str) -> dict[str, str]:
    """Exact pins of a requirements file, without the files that it includes."""
    return dict(re.findall(r'^([\w-]+)==(\S+)$', (ROOT / name).read_text(), re.MULTILINE))


def python(*args: str, cwd: Path, **variables: str) -> str:
    """Standard output of a fresh Python; a failure shows what it wrote."""
    fixed = {'OMP_NUM_THREADS': '1', 'PIP_NO_INDEX': '1', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    env = {**os.environ, **fixed, **variables}
    done = subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        # what pip calls
        return folder / build_wheel(str(folder))


@pytest.fixture(scope='module')
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('installed')
    python('-m', 'pip', 'install', '--no-deps', '--no-compile', '--target', str(folder), str(wheel), cwd=folder)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / 'scratch.py').write_text(CONFIG)
    return tmp_path


def test_wheel_is_complete(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {str(path.relative_to(ROOT)) for path in (ROOT / 'saga_mm').rglob('*.py')}
    configs = {f'saga_mm/{path.relative_to(ROOT)}' for path in (ROOT / 'configs').rglob('*.py')}
    assert configs and code | configs <= names
    assert {'saga_mm/model-index.yml', 'saga_mm/configs/coco/metafile.yml'} <= names
    assert any(name.endswith('licenses/LICENSE') for name in names)
    assert {name.split('/')[0].split('-')[0] for name in names} == {'saga_mm'}
    assert not [name for name in names if name.endswith('.pyc')]


def test_type_is_enough_in_anybodys_config_and_installed_configs_build(installed: Path, scratch: Path, bare_forker):
    parts = (BUILD.format(library=name, before=before) for name, before in (('mmdet', UNTOLD), ('mmseg', '')))
    code = ''.join(parts) + WHOLE
    env = {**os.environ, 'PYTHONPATH': str(installed)}
    *lines, module = bare_forker.run_code(code, cwd=scratch, env=env).written('out').splitlines()
    assert module == 'saga_mm.models.backbones.pvt'
    shapes = [line for line in lines if line.startswith('[(18, 24), (9, 12), (5, 6), (3, 3)')]
    assert len(shapes) == 2 and Path(lines[-1]).is_relative_to(installed)


@cache
def distributions_by_module() -> dict[str, set[str]]:
    """What brings each module; ``packages_distributions`` of Python 3.10 knows only those that list their modules."""
    found = defaultdict(set)
    for dist in distributions():
        # a distribution reads its file each time that it is asked
        name = canonical(dist.metadata['Name'])
        for file in dist.files or ():
            module = file.parts[0].partition('.')[0]
            if module.isidentifier() and (len(file.parts) > 1 or file.suffix in ('.py', '.so')):
                found[module].add(name)
    return found


def test_backbones_and_enhancement_need_what_the_wheel_declares(installed: Path, scratch: Path, bare_forker):
    declared = {canonical(Requirement(line).name) for line in PROJECT['dependencies']}
    present = {canonical(dist.metadata['Name']) for dist in distributions()}
    kept, missing = set(), list(declared)
    while missing:
        kept.add(name := missing.pop())
        # one that is not installed is blocked anyway
        for line in (requires(name) or ()) if name in present else ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
                missing += {canonical(requirement.name)} - kept
    blocked = {
        module
        for module, names in distributions_by_module().items()
        if not kept & names and module not in ('saga_mm', 'pip', 'setuptools', '_distutils_hack')
    }
    assert {'mmengine', 'mmcv', 'mmdet', 'matplotlib'} <= blocked
    env = {**os.environ, 'PYTHONPATH': str(installed)}
    program = bare_forker.run_code(BARE.format(blocked=sorted(blocked)), cwd=scratch, env=env)
    file = program.written('out').splitlines()[-1]
    assert Path(file).is_relative_to(installed)
    with Image.open(scratch / 'night.png') as result, Image.open(scratch / 'again.png') as again:
        assert result.size == again.size


def test_one_opencv():
    found = {
        dist.metadata['Name']
        for dist in distributions()
        if any(file.parts[0] == 'cv2' for file in dist.files or () if file.parts)
    }
    assert found == {'opencv-python-headless'}, f'these overwrite each other in the folder cv2: {found}'


@pytest.mark.parametrize(('extra', 'file'), [('onedl', 'requirements.txt'), ('original', 'requirements-original.txt')])
def test_extras_pin_what_the_requirements_pin(extra: str, file: str):
    named = {Requirement(line).name: str(Requirement(line).specifier) for line in EXTRAS[extra]}
    libraries = {name: f'=={version}' for name, version in pins(file).items() if name != 'imaug'}
    assert len(libraries) == 4
    assert {name: specifier for name, specifier in named.items() if specifier} == libraries


def test_extra_for_the_documentation_pins_what_make_docs_installs():
    assert sorted(EXTRAS['docs']) == sorted(
        f'{name}=={version}' for name, version in pins('requirements-docs.txt').items()
    )


def test_ranges_admit_the_pins():
    versions = pins('requirements-common.txt')
    for line in [*PROJECT['dependencies'], *EXTRAS['demo'], *EXTRAS['dev']]:
        requirement = Requirement(line)
        assert versions[requirement.name] in requirement.specifier


def test_messages_name_extras_that_bring_what_is_missing():
    known = distributions_by_module()
    for module, how in INSTALLS.items():
        extra = re.fullmatch(r"'saga-mm\[(.+)\]'", how)
        brought = {canonical(Requirement(line).name) for line in (EXTRAS[extra[1]] if extra else [how])}
        own = {name.removeprefix('onedl-') for name in known.get(module, ())}
        assert not own or own & {name.removeprefix('onedl-') for name in brought}, f'{module} is not in {how}'


def test_extras_in_documents_and_messages_exist():
    files = [*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('saga_mm/**/*.py'), *ROOT.glob('tools/*.py')]
    named = {
        extra for file in files for extra in re.findall(r'(?:saga-mm|\bpip install \.)\[([\w,-]+)\]', file.read_text())
    }
    parts = {part for each in named for part in each.split(',')}
    assert {'onedl', 'original', 'page'} <= parts <= set(EXTRAS)


def test_no_stack_among_the_dependencies():
    assert not [line for line in PROJECT['dependencies'] if 'mm' in line]


def test_ci_runs_the_tests_and_nothing_else():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert re.findall(r'\bmake \w+', script.read_text()) == ['make test']


@pytest.mark.parametrize('target', ['setup', 'demo', 'test', 'docs', 'wheel', 'lint', 'format', 'clean'])
@pytest.mark.parametrize('stack', ['onedl', 'original'])
def test_make_target(target: str, stack: str):
    subprocess.run(['make', '-n', target, f'STACK={stack}'], cwd=ROOT, check=True, capture_output=True)
