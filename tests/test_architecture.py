"""Imports of the package against the table of rooms in ``docs/architecture.md``; names, sizes and tests of modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(r'^\| (`\w+`(?: `\w+`)*) \|[^|]*\|([^|]*)\|$', (ROOT / 'docs' / 'architecture.md').read_text(), re.M)
TABLE = {room: set(re.findall(r'\w+', may)) for rooms, may in ROWS for room in re.findall(r'\w+', rooms)}
MODULES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
    for package in ('saga_mm', 'benchmarks')
    for path in (ROOT / package).rglob('*.py')
}


def room_of(module: str) -> str:
    package, *rest = module.split('.')
    return package if package == 'benchmarks' or not rest else rest[0]


def imports_of(module: str) -> Iterator[str]:
    """Modules of the package that a module imports, anywhere in its file."""
    path = MODULES[module]
    package = module if path.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit('.', node.level - 1)[0] if node.level else ''
            base = '.'.join(filter(None, (above, node.module)))
            for alias in node.names:
                name = f'{base}.{alias.name}'
                yield from (found for found in (name if name in MODULES else base,) if found in MODULES)


def test_every_room_is_in_the_table():
    assert set(map(room_of, MODULES)) == set(TABLE)


@pytest.mark.parametrize('room', TABLE)
def test_a_room_imports_what_the_table_says(room):
    imported = {room_of(found) for module in MODULES if room_of(module) == room for found in imports_of(module)}
    assert imported - {room} == TABLE[room]


def test_rooms_stand_below_what_they_import():
    order = list(TABLE)
    assert not [(room, other) for room in order for other in TABLE[room] if order.index(other) > order.index(room)]


# of a verb, its command and what it does; of each task, the same part; of public import paths that stay
VERBS = 'check_data convert doctor enhance export flops gates predict publish rank test train'
PARTS = 'bands data evaluation exported prediction sample strips transforms segmentation __init__ __main__'
SHARED = {*VERBS.split(), *PARTS.split()}


def test_different_modules_have_different_names():
    names = [path.stem for module, path in MODULES.items() if module.startswith('saga_mm')]
    assert {name for name in names if names.count(name) > 1} <= SHARED


# of each family of backbones, of each task, of a verb and of the page, of mmcv, of the kernels and of what calls them
SHARED_DEFINITIONS = {
    *('published_state', 'ExportedPrediction', 'enhance', 'in_use', 'nms'),
    *('Gates', 'read', 'read_state', 'write', 'write_state'),
}


def test_different_functions_and_classes_have_different_names():
    found = [
        node.name
        for module, path in MODULES.items()
        if module.startswith('saga_mm')
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith('_')
    ]
    verbs = {'parser', 'main'}
    assert {name for name in found if found.count(name) > 1} - verbs <= SHARED_DEFINITIONS


def test_functions_have_at_most_eight_parameters():
    """Besides constructors that configs name, kernels, and what has the parameters of mmcv's operators."""
    found = []
    for module, path in MODULES.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        long = [node for node in nodes if isinstance(node, ast.FunctionDef) and _count_parameters(node.args) > 8]
        classes = [node for node in nodes if long and isinstance(node, ast.ClassDef) and _decorated(node, 'register')]
        constructors = {function for node in classes for function in node.body}
        found += [
            f'{module}.{node.name}' for node in long if not (node in constructors or _decorated(node, 'triton.jit'))
        ]
    assert sorted(found) == [f'saga_mm.operators.extension.roi_align_{way}' for way in ('backward', 'forward')]


def _count_parameters(args: ast.arguments) -> int:
    names = [each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return len(names) - (names[:1] in (['self'], ['cls']))


def _decorated(node: ast.ClassDef | ast.FunctionDef, word: str) -> bool:
    return any(word in ast.unparse(each) for each in node.decorator_list)


# a module has a test file of its name, or is tested by the tool of its verb, or by one of these, with what it serves
TESTED_BY = {
    'test_tools/test_analyze_rank': 'analysis.rank_report',
    'test_tools/test_check_dataset': 'datasets.checks.survey_report datasets.checks.pair_report',
    'test_tools/test_get_flops': 'analysis.flops',
    'test_tools/test_classification': 'tasks.classification.data tasks.classification.evaluation',
    'test_tools/test_enhance': 'tasks.enhancement.photographs',
    'test_tools/test_enhance_video': 'tasks.enhancement.clips',
    'test_tools/test_lowlight': 'tasks.enhancement.data tasks.enhancement.evaluation',
    'test_tools/test_predict': 'tasks.detection.detector tasks.detection.evaluation tasks.predictor runs.together',
    'test_tools/test_segmentation': 'tasks.segmentation.evaluation tasks.segmentation.modes '
    'tasks.segmentation.segmenter',
    'test_tools/test_export': 'tasks.detection.export tasks.segmentation.export tasks.enhancement.export '
    'tasks.classification.export tasks.export export.subject',
    'test_cli/test_main': 'cli.doctor cli.extras runs.doctor version registry',
    'test_cli/test_options': 'cli.parser',
    'test_cli/test_required': 'loading.named_files',
    'test_display/test_run_report': 'cli.report',
    'test_runs/test_publish': 'cli.publish',
    'test_pages/test_app': 'cli.demo',
    'test_pages/test_answers': 'pages.uploads',
    'test_apis/test_names': 'apis.segmentation apis.strips ops.fused_operators',
    'test_datasets/test_checks/test_coco': 'datasets.checks.coco_records datasets.checks.coco_filter '
    'datasets.checks.images',
    'test_datasets/test_classification/test_transforms': 'datasets.classification.augment '
    'datasets.classification.sample',
    'test_datasets/test_demo/test_shapes': 'datasets.demo.draw datasets.demo.outlines',
    'test_datasets/test_low_light/test_pairs': 'datasets.low_light.sample',
    'test_engine/test_hooks': 'engine.late_removal',
    'test_engines/test_cache': 'engines.openvino_step',
    'test_engines/test_openvino': 'engines.compiled_parts engines.running_strips engines.program engines.torch_threads '
    'models.enhancement.carried_frames',
    'test_export/test_strip_graphs': 'export.strip_modules onnx.strip_model',
    'test_export/test_graphs': 'export.stack_graphs',
    'test_runs/test_export': 'export.checking tasks.enhancement.exported',
    'test_images/test_photo_writer': 'images.pipe',
    'test_images/test_pictures': 'images.picture_folders',
    'test_images/test_video_reader': 'images.video_writer',
    'test_loading/test_convert': 'loading.published_file',
    'test_hub/test_model_folder': 'models.descriptions models.saved_folders',
    'test_models/test_backbones/test_rows': 'models.backbones.blocks models.backbones.stage',
    'test_models/test_enhancement/test_enhancer': 'models.enhancement.enhancement_head models.enhancement.rows '
    'models.enhancement.enhancer_rows',
    'test_models/test_enhancement/test_weight_files': 'shipped',
    'test_models/test_necks/test_fpn': 'models.necks.pyramid',
    'test_models/test_padding': 'models.stack_padding',
    'test_models/test_openmmlab/test_segmentor': 'models.openmmlab.heads models.openmmlab.necks',
    'test_onnx/test_model': 'tasks.classification.exported tasks.classification.prediction tasks.exported_pictures '
    'tasks.segmentation.exported',
    'test_operators/test_answers': 'operators.extension',
    'test_ops/test_triton/test_write': 'ops.triton.tiles',
    'test_parallel/test_bands': 'engine.statistics parallel.band_plan parallel.band_runner parallel.detection '
    'parallel.enhancer_losses parallel.gradients parallel.padded_pictures parallel.segmentor_losses '
    'parallel.states tasks.enhancement.bands tasks.segmentation.bands',
    'test_parallel/test_mesh': 'parallel.joining',
    'test_parallel/test_trainings': 'engine.band_training engine.sharding',
    'test_tasks/test_task': 'tasks.data tasks.evaluation tasks.prediction tasks.detection.data',
    'test_tasks/test_own_data': 'loading.datasets',
    'test_tasks/test_enhancement/test_inferencer': 'tasks.enhancement.strips tasks.enhancement.wanted',
    'test_tasks/test_segmentation/test_own_masks': 'tasks.segmentation.data',
}


def test_every_module_is_tested_by_a_file_that_can_be_found():
    listed = {module: file for file, modules in TESTED_BY.items() for module in modules.split()}
    assert all((ROOT / 'tests' / f'{file}.py').is_file() for file in TESTED_BY)
    verbs = {verb.replace('-', '_') for tool in ROOT.glob('tools/*.py') for verb in _verbs_of(tool)}
    untested, superfluous = [], set(listed)
    for module, path in MODULES.items():
        package, *parts = module.split('.')
        if package != 'saga_mm' or path.name in ('__init__.py', '__main__.py'):
            continue
        own = ROOT.joinpath('tests', *(f'test_{part}' for part in parts)).with_suffix('.py').is_file()
        by_tool = parts[0] in ('cli', 'runs') and parts[-1] in verbs
        if not (own or by_tool):
            superfluous.discard('.'.join(parts))
            if '.'.join(parts) not in listed:
                untested.append(module)
    assert (untested, superfluous) == ([], set())


def _verbs_of(tool: Path) -> list[str]:
    """The verb that a tool runs, if that is tested as the tool is called or in a file of the verb."""
    names = [tool.stem, *re.findall(r"run_verb\('([\w-]+)'", tool.read_text())]
    found = [ROOT / 'tests' / 'test_tools' / f'test_{name}.py' for name in names]
    return names[1:] if any(path.is_file() for path in found) else []
