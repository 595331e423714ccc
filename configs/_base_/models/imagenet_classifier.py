model = dict(
    type='saga_mm.ImageClassifier',
    head=dict(type='saga_mm.LinearClsHead', num_classes=1000, label_smooth=0.1),
    train_cfg=dict(augments=[dict(type='saga_mm.Mixup', alpha=0.8), dict(type='saga_mm.CutMix', alpha=1.0)]),
)
