import pytest
import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.loading.weight_match import check_match, match_weights


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def test_complete():
    match = check_match(model(), model().state_dict(), 'a.pth')
    assert match.complete and len(match.matched) == len(model().state_dict())


def test_part_of_the_names():
    state = model().state_dict()
    del state['0.bias'], state['1.running_mean']
    state['extra'] = torch.zeros(1)
    state['2.weight'] = torch.zeros(5, 3)
    match = match_weights(model(), state)
    assert match.missing == ['0.bias', '1.running_mean'] and match.unexpected == ['extra']
    assert match.reshaped == ['2.weight (5, 3), not (2, 3)']
    assert str(match) == (
        '6 weights fit, 2 missing (0.bias, 1.running_mean), 1 unexpected (extra), '
        '1 of another shape (2.weight (5, 3), not (2, 3))'
    )
    assert not check_match(model(), state, 'a.pth', partly=True).complete
    with pytest.raises(SagaError, match=r'a\.pth: is of another model than this Sequential: 6 weights fit, 2 missing'):
        check_match(model(), state, 'a.pth')


def test_another_number_of_classes_is_named():
    state = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 5)).state_dict()
    words = r'a\.pth: was probably trained for another number of classes than this .*2\.weight \(5, 3\), not \(2, 3\)'
    with pytest.raises(SagaError, match=words):
        check_match(model(), state, 'a.pth')
    # another width
    wide = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).state_dict()
    for state in (wide, model().state_dict() | {'1.weight': torch.zeros(9)}):
        with pytest.raises(SagaError, match='is of another model'):
            check_match(model(), state, 'a.pth')


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        ('text', 'a str'),
        (None, 'a NoneType'),
        (torch.eye(3).to_sparse(), 'a tensor without plain numbers'),
    ],
)
def test_what_is_no_tensor_of_numbers_does_not_fit(value, words):
    state = model().state_dict() | {'0.weight': value}
    with pytest.raises(SagaError, match=rf'0\.weight is {words}'):
        check_match(model(), state, 'a.pth')
    state = dict.fromkeys(state, value)
    with pytest.raises(SagaError, match='none of its'):
        check_match(model(), state, 'a.pth', partly=True)


def test_long_lists_are_cut():
    state = {f'w{i}': torch.zeros(1) for i in range(50)} | model().state_dict()
    assert '50 unexpected (w0, w1, w2, and 47 more)' in str(match_weights(model(), state))


@pytest.mark.parametrize('partly', [True, False])
def test_nothing_fits(partly):
    with pytest.raises(
        SagaError, match=r'b\.pth: none of its 1 weights fits this Sequential; it holds x and the model'
    ):
        check_match(model(), {'x': torch.zeros(1)}, 'b.pth', partly)


def test_shapes_are_told_where_the_names_are_the_same():
    state = {name: torch.zeros(7, 7) for name in model().state_dict()}
    with pytest.raises(
        SagaError,
        match=r'fits this Sequential; 0\.weight has the shape \(7, 7\) in it, and \(3, 4\) in the model\. Use the',
    ):
        check_match(model(), state, 'a.pth')


def test_prefix_is_named_if_a_part_would_fit():
    state = {f'backbone.{name}': value for name, value in model().state_dict().items()}
    with pytest.raises(SagaError, match=r"Set prefix='backbone\.'"):
        check_match(model(), state, 'c.pth', partly=True, takes_prefix=True)


@pytest.mark.parametrize(('head', 'writer'), [('model', 'Lightning'), ('ema_model', 'EMA'), ('net', '')])
def test_where_no_prefix_can_be_set_the_cure_is_another(head, writer):
    state = {f'{head}.{name}': value for name, value in model().state_dict().items()}
    with pytest.raises(SagaError, match=rf"without the prefix '{head}\.'.*{writer}.*torch\.save\(") as caught:
        check_match(model(), state, 'c.pth')
    assert 'Set prefix' not in str(caught.value)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('partly', [False, True])
def test_weights_of_a_training_that_diverged(value, partly):
    state = model().state_dict()
    state['2.weight'][0, 0] = value
    with pytest.raises(SagaError, match=r'checkpoint a\.pth: 2\.weight holds NaN or infinity'):
        check_match(model(), state, 'a.pth', partly=partly)
