_base_ = 'semantic-fpn_saga-pvt-t_40k_ade20k-512x512.py'

model = dict(backbone=dict(attention='focused'))
