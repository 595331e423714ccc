_base_ = 'semantic-fpn_saga-pvt-s_40k_ade20k-512x512.py'

model = dict(backbone=dict(attention='softmax'))
