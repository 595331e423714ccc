import pytest

from benchmarks import ceilings
from benchmarks.options import Options
from saga_mm.models.backbones import create_backbone

# oneDNN 3.12 convolves bfloat16 wrongly on AMX where kernel and stride are 8 and channels fewer than 32
ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (1, 2), 'mlp_ratios': (2, 2), 'sr_ratios': (4, 2)}


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Options of a short run of operators, on a machine whose ceilings are soon found."""
    monkeypatch.setitem(ceilings.COPY_BYTES, 'cpu', 2**16)
    monkeypatch.setitem(ceilings.SIDE, 'cpu', 32)
    # drawing takes longer than all the rest
    monkeypatch.setattr('benchmarks.run.plot', lambda rows, folder: [folder / 'time.png'])

    def options(**changes) -> Options:
        usual = dict(layer='op', sizes='64', only='fused,saga', stages='1', repeats=2, min_seconds=0, memory=False)
        return Options(**{**usual, 'out': tmp_path / 'out', **changes})

    return options


@pytest.fixture
def small(monkeypatch):
    """Makes backbones of two thin stages, which are also what the benchmark builds."""

    def build(name, **options):
        return create_backbone(name, arch=ARCH, out_indices=(0, 1), **options)

    monkeypatch.setattr('benchmarks.nets.create_backbone', build)
    return build
