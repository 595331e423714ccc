_base_ = [
    '../_base_/models/saga-unet.py',
    '../_base_/datasets/low_light_pairs.py',
    '../_base_/schedules/low_light.py',
    '../_base_/low_light_full_runtime.py',
]

data = dict(data_root='data/LOLv2', layout='lol_v2_real')
train_dataloader = dict(dataset=dict(hold_out=30, split='train', **data))
val_dataloader = dict(dataset=dict(hold_out=30, split='val', **data))
test_dataloader = dict(dataset=dict(split='test', **data))
