"""All modules that register models."""

from .attention import *  # noqa: F403
from .backbones import *  # noqa: F403
from .classification import *  # noqa: F403
from .enhancement import *  # noqa: F403
from .necks import *  # noqa: F403
