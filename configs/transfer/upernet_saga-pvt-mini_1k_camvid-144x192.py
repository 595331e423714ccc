"""CamVid at half its size, to compare random with pretrained weights at equal steps."""

_base_ = '../camvid/upernet_saga-pvt-t_scratch-1_camvid-144x192.py'

channels = [32, 64, 96, 128]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=(32, 64, 96, 128),
            depths=(1, 2, 2, 1),
            num_heads=(2, 4, 6, 8),
            mlp_ratios=(3, 3, 3, 3),
            sr_ratios=(1, 1, 1, 1),
        ),
        drop_path_rate=0.05,
        pretrain_img_size=64,
    ),
    decode_head=dict(in_channels=channels, channels=32),
    auxiliary_head=dict(in_channels=96, channels=32),
)
train_cfg = dict(max_iters=1000, val_interval=250)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=100, end=1000),
]
default_hooks = dict(checkpoint=dict(interval=500))
