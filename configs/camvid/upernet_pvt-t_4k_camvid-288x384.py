_base_ = 'upernet_saga-pvt-t_4k_camvid-288x384.py'

model = dict(backbone=dict(attention='softmax'))
