_base_ = 'upernet_saga-pvt-t_160k_ade20k-512x512.py'

model = dict(backbone=dict(attention='softmax'))
