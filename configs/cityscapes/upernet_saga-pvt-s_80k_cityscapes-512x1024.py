_base_ = 'upernet_saga-pvt-t_80k_cityscapes-512x1024.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.1))
