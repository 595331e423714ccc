"""The small classifier of the tests, on the pictures that the campaign makes in the folder that it runs in."""

_base_ = ['../tests/tiny_classification.py']

model = dict(head=dict(num_classes=3))
train_dataloader = dict(dataset=dict(data_root='data/tiny/train'))
val_dataloader = dict(dataset=dict(data_root='data/tiny/val'))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
