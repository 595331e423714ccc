_base_ = 'upernet_saga-pvt-t.py'

model = dict(
    backbone=dict(_delete_=True, type='saga_mm.RAVLT', arch='small', norm_cfg=dict(type='SyncBN'), drop_path_rate=0.15)
)
