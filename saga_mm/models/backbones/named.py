"""Create backbones by name."""

from difflib import get_close_matches
from typing import Any

from saga_mm.foundation import BaseModule
from saga_mm.registry import MODELS

from . import cswin, pvt, pvt_v2, ravlt, swin, vit

FAMILIES = (swin, cswin, pvt, pvt_v2, ravlt, vit)
VARIANTS: dict[str, dict[str, Any]] = {
    name: options for family in FAMILIES for name, options in family.VARIANTS.items()
}


def list_backbones(contains: str = '') -> list[str]:
    """Names that :func:`create_backbone` knows, those that contain a text only if one is given."""
    return [name for name in VARIANTS if contains in name]


def create_backbone(name: str, **overrides: Any) -> BaseModule:
    """Build a backbone by name, for use in plain PyTorch as well.

    Args:
        name: One of :func:`list_backbones`, such as ``'saga_pvt_tiny'``.
        overrides: Arguments of the backbone that replace the variant's own, such as ``out_indices`` or ``with_cp``.

    Returns:
        A module from images ``(B, 3, H, W)`` to a tuple of maps: at strides 4, 8, 16 and 32, and of a ViT one at 16.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in VARIANTS:
        near = get_close_matches(name, VARIANTS)
        hint = f'did you mean {", ".join(near)}?' if near else 'saga_mm.list_backbones() names all'
        raise ValueError(f'unknown backbone {name!r}; {hint}')
    options = {**VARIANTS[name], **overrides}
    # not MODELS.build, which would look the name up in the default scope
    model = MODELS.get(options['type'])(**{key: value for key, value in options.items() if key != 'type'})
    # for saga_mm.save
    model.built_of = options
    return model
