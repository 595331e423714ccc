_base_ = 'low_light_pairs.py'

demo_data = dict(type='photos', root='data/demo_photos')

data_root = 'data/demo_photos/'
train_pipeline = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.PairRandomCrop', crop_size=128),
    dict(type='saga_mm.PairRandomFlip'),
    dict(type='saga_mm.SynthesizeLowLight'),
    dict(type='saga_mm.PackLowLightInputs'),
]
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, low=None, high='train/high', pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, low='val/low', high='val/high')
)
test_dataloader = val_dataloader
