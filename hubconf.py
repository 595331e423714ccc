"""Entry points of ``torch.hub.load(FOLDER_OR_REPOSITORY, NAME, ...)``."""

dependencies = ['torch', 'numpy']


def backbone(name: str, **overrides):
    """A backbone by name, without weights; see :func:`saga_mm.create_backbone`."""
    from saga_mm import create_backbone

    return create_backbone(name, **overrides)


def load(source: str):
    """A model with weights; see :func:`saga_mm.load`."""
    from saga_mm.hub import load

    return load(source)


def enhancer(weights: str = 'base'):
    """The low-light enhancer with weights that come with the package."""
    from saga_mm.hub import load

    return load(weights)
