"""ImageNet-1K at 224 pixels, with the augmentation of DeiT: data/imagenet/{train,val}/CLASS/*.JPEG."""

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saga_mm.RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5),
    dict(type='saga_mm.RandAugment', num_policies=2, magnitude_level=9, magnitude_std=0.5),
    dict(type='saga_mm.RandomErasing', erase_prob=0.25),
    dict(type='saga_mm.PackClassInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saga_mm.ResizeEdge', scale=256),
    dict(type='CenterCrop', crop_size=224),
    dict(type='saga_mm.PackClassInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='saga_mm.ImageFolder', data_root='data/imagenet/train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='saga_mm.ImageFolder', data_root='data/imagenet/val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='saga_mm.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
