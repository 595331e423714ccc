"""Image classification: one class for a picture, with the models and data sets of this package."""

from saga_mm.tasks.task import Implementation, Option, Task

_FOLDER = 'saga_mm.tasks.classification'

CLASSIFICATION = Task(
    name='classification',
    scope='saga_mm',
    models=('ImageClassifier',),
    exported='classifier',
    data=Implementation(
        f'{_FOLDER}.data:ClassificationData',
        {
            'train_img': Option('folder of the training images, in one folder for each class'),
            'train_list': Option(
                'text file of training images, a file and its class on each line', {'metavar': 'FILE'}
            ),
            'val_img': Option('folder of the images to evaluate on, in one folder for each class'),
            'val_list': Option(
                'text file of images to evaluate on, a file and its class on each line', {'metavar': 'FILE'}
            ),
            'classes': Option('class names, one a line, that of label 0 first (default: sorted)', {'metavar': 'FILE'}),
        },
    ),
    verbs={
        'train': Implementation(f'{_FOLDER}.evaluation:ClassificationEvaluation'),
        'test': Implementation(f'{_FOLDER}.evaluation:ClassificationEvaluation'),
        'predict': Implementation(f'{_FOLDER}.prediction:ClassificationPrediction'),
        'predict-exported': Implementation(f'{_FOLDER}.prediction:ExportedPrediction'),
        'export': Implementation(f'{_FOLDER}.export:ClassificationExport'),
        'check-data': Implementation(f'{_FOLDER}.data:ClassificationData'),
    },
)
