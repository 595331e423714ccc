"""Published classifiers as state dicts of :class:`~saga_mm.models.classification.ImageClassifier`."""

from types import ModuleType

from torch import Tensor


def published_classifier(state: dict[str, Tensor], backbone: ModuleType) -> dict[str, Tensor]:
    """Rename the keys of a published classifier, its head and class token too.

    Args:
        state: The published state dict.
        backbone: The module of the backbone, such as ``saga_mm.models.backbones.pvt``.

    Returns:
        For a classifier whose backbone has a class token if the file does, and whose head is :class:`ConvClsHead` for
        RAVLT and :class:`LinearClsHead` for the others. A class token and its position, which are added, become one.
    """
    ours = {f'backbone.{key}': value for key, value in backbone.published_state(state).items()}
    # RAVLT's is a 1x1 convolution
    fc = {'head.fc.weight': state['head.weight'].flatten(1), 'head.fc.bias': state['head.bias']}
    if 'proj.weight' in state:
        return {**ours, **fc, **_moved(state, 'proj.', 'head.proj.'), **_moved(state, 'norm.', 'head.bn.')}
    if 'cls_token' in state:
        stage, position = ('3', 'pos_embed4') if 'pos_embed4' in state else ('0', 'pos_embed')
        ours[f'backbone.stages.{stage}.class_token'] = state['cls_token'] + state[position][:, :1]
        # of a ViT the backbone has this norm: it is that of its last output
        if position == 'pos_embed4':
            ours.update(_moved(state, 'norm.', 'head.norm.'))
    return {**ours, **fc}


def _moved(state: dict[str, Tensor], before: str, after: str) -> dict[str, Tensor]:
    return {after + key[len(before) :]: value for key, value in state.items() if key.startswith(before)}
