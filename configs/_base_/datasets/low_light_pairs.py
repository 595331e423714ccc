# what ProgressiveCropHook cuts its crops out of
train_pipeline = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
    dict(type='saga_mm.PairExposureJitter'),
    dict(type='saga_mm.PackLowLightInputs'),
]
test_pipeline = [dict(type='saga_mm.LoadPair'), dict(type='saga_mm.PackLowLightInputs')]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='saga_mm.PairedLowLightDataset', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='saga_mm.PairedLowLightDataset', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# beside the result, what the input reaches as it is and brightened by a curve
val_evaluator = [
    dict(type='saga_mm.EnhancementMetric'),
    dict(type='saga_mm.BaselineMetric'),
    dict(type='saga_mm.BaselineMetric', gamma=0.3),
]
test_evaluator = val_evaluator
