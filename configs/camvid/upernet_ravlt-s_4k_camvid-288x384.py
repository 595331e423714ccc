_base_ = 'upernet_saga-pvt-t_4k_camvid-288x384.py'

model = dict(backbone=dict(_delete_=True, type='saga_mm.RAVLT', arch='small', drop_path_rate=0.1))
