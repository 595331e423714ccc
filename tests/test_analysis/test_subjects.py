import torch

from saga_mm.analysis.subjects import read_backbone_weights, split_files


def test_a_work_folder_is_the_best_checkpoint_in_it(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    torch.save({'state_dict': {'backbone.a': torch.ones(1)}}, work / 'best_x_iter_3.pth')
    assert list(read_backbone_weights(work)) == ['a']
    assert split_files([str(work), 'picture.png']) == (str(work), ['picture.png'])
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    assert split_files([str(pictures)]) == (None, [str(pictures)])
