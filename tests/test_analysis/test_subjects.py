import pytest
import torch

from saga_mm.analysis.subjects import build_backbone, read_backbone_weights, split_files
from saga_mm.errors import SagaError


def test_a_work_folder_is_the_best_checkpoint_in_it(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    torch.save({'state_dict': {'backbone.a': torch.ones(1)}}, work / 'best_x_iter_3.pth')
    assert list(read_backbone_weights(work)) == ['a']
    assert split_files([str(work), 'picture.png']) == (str(work), ['picture.png'])
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    assert split_files([str(pictures)]) == (None, [str(pictures)])


def test_a_wrong_attention_of_a_backbone_that_is_known_is_named_alone():
    with pytest.raises(SagaError, match=r"^saga_pvt_tiny: unknown attention 'sga'; did you mean saga\?"):
        build_backbone('saga_pvt_tiny', 'sga')
    with pytest.raises(SagaError, match=r'^saga_pvt_tyni: no such config file, and as a backbone: .* saga_pvt_tiny'):
        build_backbone('saga_pvt_tyni')
