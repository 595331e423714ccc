model = dict(
    type='saga_mm.LowLightEnhancer',
    backbone=dict(type='saga_mm.SAGAUNet', arch='base', attention='saga'),
    head=dict(type='saga_mm.EnhancementHead'),
    losses=[dict(type='saga_mm.CharbonnierLoss'), dict(type='saga_mm.SSIMLoss', loss_weight=0.2)],
)
