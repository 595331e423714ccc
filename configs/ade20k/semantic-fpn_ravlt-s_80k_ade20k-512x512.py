_base_ = 'semantic-fpn_saga-pvt-t_80k_ade20k-512x512.py'

model = dict(
    backbone=dict(_delete_=True, type='saga_mm.RAVLT', arch='small', norm_cfg=dict(type='SyncBN'), drop_path_rate=0.15)
)
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, by_epoch=False, begin=0, end=80000)]
