_base_ = 'semantic-fpn_saga-pvt-t_80k_ade20k-512x512.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.1))
