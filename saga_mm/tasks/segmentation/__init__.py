"""Semantic segmentation: a class for every pixel, with mmseg and folders of images and masks."""

from saga_mm.tasks.task import Implementation, Option, Task

_FOLDER = 'saga_mm.tasks.segmentation'
_MEMORY = Option(
    'what the program may take, such as 4GB; what needs more is done in strips, with the same result (default: half of '
    'the memory that is free)',
    {'metavar': 'SIZE'},
)
_OWN_SIZE = Option('segment pictures at their own size where the config resizes them', {'action': 'store_true'})

SEGMENTATION = Task(
    name='segmentation',
    scope='mmseg',
    exported='segmentor',
    data=Implementation(
        f'{_FOLDER}.data:SegmentationData',
        {
            'train_img': Option('folder of the training images'),
            'train_mask': Option('folder of the masks of the training images'),
            'val_img': Option('folder of the images to evaluate on'),
            'val_mask': Option('folder of the masks of the images to evaluate on'),
            'classes': Option('class names, one a line, that of id 0 first', {'metavar': 'FILE'}),
        },
    ),
    verbs={
        'train': Implementation(f'{_FOLDER}.evaluation:SegmentationEvaluation'),
        'test': Implementation(f'{_FOLDER}.evaluation:SegmentationEvaluation', {'max_memory': _MEMORY}),
        'modes': Implementation(
            f'{_FOLDER}.modes:Modes',
            {
                'mode': Option(
                    'compare ways to segment large images by mIoU, time and memory',
                    {'nargs': '+', 'choices': ('whole', 'slide', 'strips')},
                ),
                'sizes': Option(
                    'with --mode: longest sides to resize images to (default: as they are)', {'metavar': 'A,B,...'}
                ),
                'max_memory': _MEMORY,
            },
        ),
        'predict': Implementation(
            f'{_FOLDER}.prediction:SegmentationPrediction', {'max_memory': _MEMORY, 'own_size': _OWN_SIZE}
        ),
        'predict-exported': Implementation(
            f'{_FOLDER}.prediction:ExportedPrediction', {'max_memory': _MEMORY, 'own_size': _OWN_SIZE}
        ),
        'check-data': Implementation(f'{_FOLDER}.data:SegmentationData'),
        'export': Implementation(
            f'{_FOLDER}.export:SegmentationExport',
            {
                'result': Option(
                    'labels at the size of the image (default), or class scores at the resolution of the head',
                    {'choices': ('labels', 'scores')},
                )
            },
        ),
    },
)
