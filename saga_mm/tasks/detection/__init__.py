"""Detection: boxes and masks of objects, with mmdet and data in COCO format."""

from saga_mm.tasks.task import Implementation, Option, Task

_FOLDER = 'saga_mm.tasks.detection'
_SCORE = Option('lowest score that is shown (default: 0.3)', {'type': float})

DETECTION = Task(
    name='detection',
    scope='mmdet',
    data=Implementation(
        f'{_FOLDER}.data:DetectionData',
        {
            'train_img': Option('folder of the training images'),
            'train_ann': Option('COCO annotation file of the training images; it also names the classes'),
            'val_img': Option('folder of the images to evaluate on'),
            'val_ann': Option('COCO annotation file of the images to evaluate on'),
        },
    ),
    verbs={
        'train': Implementation(f'{_FOLDER}.evaluation:DetectionEvaluation'),
        'test': Implementation(f'{_FOLDER}.evaluation:DetectionEvaluation', {'score_thr': _SCORE}),
        'predict': Implementation(f'{_FOLDER}.prediction:DetectionPrediction', {'score_thr': _SCORE}),
        'check-data': Implementation(f'{_FOLDER}.data:DetectionData'),
        'export': Implementation(f'{_FOLDER}.export:DetectionExport'),
    },
)
