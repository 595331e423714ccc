from mmengine.config import Config

from saga_mm.runs.prepare import OF_TEST, OF_TRAINING, fit_workers, tell_unused


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


def test_values_that_a_run_does_not_read_are_named(capsys):
    given = {'train_cfg.max_iters': 3, 'model.backbone.depths': (1,), 'train_dataloader.batch_size': 2}
    tell_unused(given, OF_TRAINING)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition('warning: ')[2] for line in said] == [
        '--cfg-options train_cfg.max_iters: is not read here, and changes nothing',
        '--cfg-options train_dataloader.batch_size: is not read here, and changes nothing',
    ]
    tell_unused(None, OF_TRAINING)
    tell_unused(given, OF_TEST)
    assert not capsys.readouterr().out
