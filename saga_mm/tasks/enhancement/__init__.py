"""Low-light enhancement: bright pictures of dark ones, with the models and data sets of this package."""

from saga_mm.tasks.task import Implementation, Option, Task

_FOLDER = 'saga_mm.tasks.enhancement'
_STRENGTH = Option('a constant of the file instead of an input', {'type': float, 'metavar': 'S'})

ENHANCEMENT = Task(
    name='low-light enhancement',
    scope='saga_mm',
    models=('LowLightEnhancer',),
    data=Implementation(
        f'{_FOLDER}.data:EnhancementData',
        {
            'train_low': Option('folder of the dark pictures to train on'),
            'train_high': Option('folder of the bright pictures to train on; alone, they are darkened'),
            'val_low': Option('folder of the dark pictures to evaluate on'),
            'val_high': Option('folder of the bright pictures to evaluate on; alone, they are darkened'),
        },
    ),
    verbs={
        'train': Implementation(f'{_FOLDER}.evaluation:EnhancementEvaluation'),
        'test': Implementation(f'{_FOLDER}.evaluation:EnhancementEvaluation'),
        'enhance': Implementation('saga_mm.runs.enhance:enhance'),
        'check-data': Implementation(f'{_FOLDER}.data:EnhancementData'),
        'export': Implementation(
            f'{_FOLDER}.export:EnhancementExport',
            {'strength': _STRENGTH},
        ),
        'publish': Implementation('saga_mm.runs.publish:publish_weights'),
    },
    next_steps=(
        'publish {config} {checkpoint} {folder}/weights.npz',
        'enhance FOLDER --weights {folder}/weights.npz',
    ),
)
