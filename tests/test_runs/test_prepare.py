from mmengine.config import Config

from saga_mm.runs.prepare import fit_workers


def test_loaders_without_workers_have_no_options_of_workers():
    options = {'batch_size': 2, 'persistent_workers': True, 'prefetch_factor': 4}
    cfg = Config(
        {
            'train_dataloader': {**options, 'num_workers': 0},
            'val_dataloader': {**options, 'num_workers': 2},
            'test_dataloader': None,
        }
    )
    fit_workers(cfg)
    assert cfg.train_dataloader == {'batch_size': 2, 'num_workers': 0}
    assert cfg.val_dataloader == {**options, 'num_workers': 2}
