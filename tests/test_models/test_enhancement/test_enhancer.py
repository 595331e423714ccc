"""The low-light model: its modes, its head, and images of any size."""

import pytest
import torch
from mmengine.structures import BaseDataElement

from saga_mm.models.enhancement import EnhancementHead, LowLightEnhancer, LowLightPreprocessor
from saga_mm.models.enhancement.enhancer_rows import enhance_rows, enhancer_parts
from saga_mm.models.enhancement.exposure import luminance
from saga_mm.models.enhancement.finish import Finish
from saga_mm.registry import MODELS
from saga_mm.rows import ImageRows, MemoryTooSmallError, RowRunner, plan_runner

SMALL = {'embed_dims': (8, 16, 24), 'depths': (1, 1, 2), 'num_heads': (0, 2, 2), 'mlp_ratio': 2}
PVT = {
    'type': 'saga_mm.PVT',
    'arch': {
        'embed_dims': (8, 16, 24, 32),
        'depths': (1, 1, 1, 1),
        'num_heads': (1, 2, 2, 2),
        'mlp_ratios': (2, 2, 2, 2),
        'sr_ratios': (8, 4, 2, 1),
    },
}


def build(**options: object) -> LowLightEnhancer:
    torch.manual_seed(0)
    return MODELS.build(
        {'type': 'saga_mm.LowLightEnhancer', 'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': SMALL}, **options}
    )


def build_pvt() -> LowLightEnhancer:
    head = {'in_channels': [8, 16, 24, 32], 'strides': [4, 8, 16, 32], 'channels': 16}
    neck = {'type': 'saga_mm.SAGAPyramid', 'in_channels': [8, 16, 24, 32]}
    return build(backbone=PVT, neck=neck, head=head, pad_divisor=32)


def build_exposed() -> LowLightEnhancer:
    return build(exposure={'type': 'saga_mm.Exposure'}, edges='replicate')


def lively(model: LowLightEnhancer) -> LowLightEnhancer:
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def rows_of(image: torch.Tensor) -> ImageRows:
    return ImageRows(lambda start, stop: image[:, :, start:stop], *image.shape[2:], image.shape[0])


@pytest.mark.parametrize('make', [build, build_pvt, build_exposed])
@pytest.mark.parametrize('size', [(32, 32), (33, 45), (1, 1), (1, 70), (67, 3)])
def test_any_size(make: object, size: tuple[int, int]) -> None:
    answer = lively(make()).enhance(torch.rand(1, 3, *size))
    assert answer.shape == (1, 3, *size)
    assert 0 <= answer.min() <= answer.max() <= 1


def test_answers_the_image_at_first() -> None:
    image = torch.rand(1, 3, 24, 24)
    assert (build()(image) - image).abs().mean() < 0.05


def test_strength() -> None:
    model, image = lively(build()), torch.rand(2, 3, 21, 30)
    with torch.no_grad():
        full, raw = model.enhance(image), model(image)
    assert torch.equal(model.enhance(image, 0), image)
    assert torch.allclose(model.enhance(image, 0.5), (image + 0.5 * (raw - image)).clamp(0, 1), atol=1e-6)
    assert torch.allclose(model.enhance(image, 1.5), (image + 1.5 * (raw - image)).clamp(0, 1), atol=1e-6)
    assert torch.equal(full, raw.clamp(0, 1))


def test_losses_by_name_and_their_gradients() -> None:
    model = build(losses=[{'type': 'saga_mm.CharbonnierLoss'}, {'type': 'saga_mm.SSIMLoss', 'loss_weight': 0.5}])
    samples = [BaseDataElement(gt_img=torch.rand(3, 24, 32)) for _ in range(2)]
    losses = model(torch.rand(2, 3, 24, 32), samples, mode='loss')
    assert set(losses) == {'loss_charbonnier', 'loss_ssim'}
    sum(losses.values()).backward()
    assert model.head.conv.weight.grad.abs().sum() > 0


def test_losses_of_one_kind_have_names_of_their_own() -> None:
    kinds = [('SSIMLoss', 0.5), ('CharbonnierLoss', 1.0), ('SSIMLoss', 1.5), ('SSIMLoss', 1.0)]
    model = build(losses=[{'type': f'saga_mm.{kind}', 'loss_weight': weight} for kind, weight in kinds])
    samples = [BaseDataElement(gt_img=torch.rand(3, 24, 32)) for _ in range(2)]
    losses = model(torch.rand(2, 3, 24, 32), samples, mode='loss')
    assert list(losses) == ['loss_ssim', 'loss_charbonnier', 'loss_ssim_2', 'loss_ssim_3']
    assert torch.allclose(losses['loss_ssim_2'], 3 * losses['loss_ssim'])


def test_prediction_of_images_of_several_sizes() -> None:
    model = lively(build())
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((20, 31), (17, 8))]
    data = model.data_preprocessor({'inputs': images, 'data_samples': [BaseDataElement() for _ in images]})
    with torch.no_grad():
        samples = model(**data, mode='predict')
    for image, sample in zip(images, samples):
        alone = model.enhance(image.flip(0)[None].float() / 255)[0]
        assert torch.equal(sample.pred_img, alone)


def test_images_of_several_sizes_are_not_trained() -> None:
    with pytest.raises(ValueError, match='PairRandomCrop'):
        build()([torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9)], [], mode='loss')


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'answer'"):
        build()(torch.rand(1, 3, 8, 8), mode='answer')


def test_preprocessor_makes_rgb_in_unit_range() -> None:
    bgr = torch.tensor([255, 51, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 5)
    data = LowLightPreprocessor()({'inputs': [bgr], 'data_samples': [BaseDataElement(gt_img=bgr)]})
    expected = torch.tensor([0, 0.2, 1]).view(3, 1, 1).expand(3, 4, 5)
    assert torch.allclose(data['inputs'][0], expected)
    assert torch.allclose(data['data_samples'][0].gt_img, expected)


def test_head_follows_its_equation() -> None:
    head, image, x = (
        EnhancementHead([4], [2]).double(),
        torch.rand(1, 3, 6, 10).double(),
        torch.randn(1, 4, 3, 5).double(),
    )
    torch.nn.init.normal_(head.conv.weight)
    made = torch.nn.functional.pixel_shuffle(head.conv(x), 2)
    assert torch.allclose(head([x], image), image * (1 + made[:, :3]) + made[:, 3:])


@pytest.mark.parametrize(('channels', 'strides'), [([4, 8], [2]), ([4, 8], [4, 2])])
def test_head_refuses_lists_that_do_not_fit(channels: list[int], strides: list[int]) -> None:
    with pytest.raises(ValueError, match='strides'):
        EnhancementHead(channels, strides)


@pytest.mark.parametrize('make', [build, build_pvt, build_exposed])
@pytest.mark.parametrize('size', [(40, 24), (37, 27), (3, 50)])
@pytest.mark.parametrize('finish', [Finish(0), Finish(), Finish(1.3), Finish(1, 0.5), Finish(0.9, None, 0.5)])
def test_strips_equal_the_whole(make: object, size: tuple[int, int], finish: Finish) -> None:
    model = lively(make()).double()
    image = torch.rand(1, 3, *size, dtype=torch.float64)
    runner = RowRunner(rows=5)
    strips = enhance_rows(model, rows_of(image), runner, finish)
    assert torch.allclose(runner.gather(strips), model.enhance(image, *finish), rtol=1e-9, atol=1e-9)


def test_memory_too_small_for_strips() -> None:
    model = build().eval()
    with pytest.raises(MemoryTooSmallError):
        plan_runner(enhancer_parts(model, 1, 1000, 1000), 1, 1000.0)
    assert plan_runner(enhancer_parts(model, 1, 1000, 1000), 1, 2**28).limit < 2**28


def test_strips_are_for_trunks_that_know_them() -> None:
    model = build().eval()
    model.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match='Identity'):
        enhance_rows(model, rows_of(torch.rand(1, 3, 8, 8)), RowRunner())


def test_brightness_is_reached_by_models_with_and_without_exposure() -> None:
    image = 0.1 * torch.rand(2, 3, 40, 33)
    for model in (lively(build()), lively(build_exposed())):
        found = model.enhance(image, brightness=0.45)
        assert luminance(found).tolist() == pytest.approx([0.45, 0.45], abs=1e-3)


def test_a_new_model_with_exposure_answers_the_exposed_image() -> None:
    model, image = build_exposed().eval(), 0.1 * torch.rand(1, 3, 64, 64)
    assert luminance(model.enhance(image)).item() == pytest.approx(0.4, abs=0.03)


def test_brightness_is_learned_from_the_ground_truth_and_given_to_the_trunk() -> None:
    model, dark = build_exposed(), 0.1 * torch.rand(2, 3, 32, 32)
    samples = [BaseDataElement(gt_img=torch.full((3, 32, 32), level)) for level in (0.3, 0.35)]
    losses = model(dark, samples, mode='loss')
    assert set(losses) == {'loss_brightness', 'loss_charbonnier'}
    # at first 0.4 is predicted; a tenth of the error counts
    assert losses['loss_brightness'].item() == pytest.approx(0.1 * 0.075, abs=1e-4)
    losses['loss_charbonnier'].backward(retain_graph=True)
    assert model.exposure.fc2.bias.grad is None
    losses['loss_brightness'].backward()
    assert model.exposure.fc2.bias.grad.abs().sum() > 0


@pytest.mark.parametrize('edges', ['zeros', 'replicate'])
def test_edges_of_a_flat_image(edges: str) -> None:
    model = lively(build(edges=edges))
    with torch.no_grad():
        tokens, _ = model.backbone.encoder[0].embed(torch.full((1, 3, 16, 16), 0.3))
        answer = model.head([torch.ones(1, 8, 8, 8)], torch.full((1, 3, 16, 16), 0.3))
    even = [torch.allclose(x, x[:, y], atol=1e-6) for x, y in ((tokens, slice(20, 21)),)]
    even += [torch.allclose(answer[..., ::2, ::2], answer[..., 8:9, 8:9].expand(1, 3, 8, 8), atol=1e-6)]
    assert even == [edges == 'replicate'] * 2


def test_unknown_edges() -> None:
    with pytest.raises(ValueError, match="edges='mirror'"):
        build(edges='mirror')
