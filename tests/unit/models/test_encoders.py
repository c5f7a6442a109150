"""The separable encoder: the paper's sizes, an element-by-element answer, the exact fold."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from brain2pix.config.models import EncoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models import SeparableEncoder, TinyBackbone, VGG19Features

TAPS = [(3, 32, 32), (4, 16, 16), (5, 8, 8), (6, 4, 4)]  # of a backbone for images of 32 px: grids 8, 8, 4, 4
SMALL = EncoderSettings(channels=2)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _on_meta(n_voxels: int, **changes: object) -> SeparableEncoder:
    with torch.device("meta"):
        return SeparableEncoder(n_voxels, VGG19Features().tap_shapes(112), 112, EncoderSettings(**changes))


def _features(count: int = 3, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, *shape, generator=generator) for shape in TAPS]


def _scramble(encoder: SeparableEncoder, seed: int = 0) -> SeparableEncoder:
    """Give all parameters and all running statistics values that a mistake would show in."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return encoder.eval()


def _relative(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


def test_sizes_of_the_paper() -> None:
    encoder = _on_meta(4500)
    assert _count(encoder) == 9_057_712
    assert [_count(branch) for branch in encoder.branches] == [18_656, 37_216, 74_336, 17_504]
    assert _count(encoder.space) == 820 * 4500
    assert _count(encoder.channel_mix) + _count(encoder.channel_bias) == 1156 * 4500
    assert encoder.branch_mix.shape == (4500, 4)
    assert [tuple(mix.shape) for mix in encoder.channel_mix] == [(4500, 288)] * 4
    assert [tuple(encoder.space_of(branch).shape[1:]) for branch in range(4)] == [(26, 26), (26, 26), (12, 12), (12, 12)]


def test_a_map_for_each_branch() -> None:
    encoder = _on_meta(4500, share_space=False)
    assert _count(encoder) == 12_747_712
    assert len({id(encoder.space_of(branch)) for branch in range(4)}) == 4


@pytest.mark.parametrize("n_voxels", [60, 4500])
def test_size_grows_with_the_voxels(n_voxels: int) -> None:
    assert _count(_on_meta(n_voxels)) == 1980 * n_voxels + 147_712


def test_the_papers_text_has_a_larger_last_kernel() -> None:
    assert _count(_on_meta(60, last_kernel=3)) - _count(_on_meta(60)) == 512 * 32 * 8


@pytest.mark.parametrize(("image_size", "grids"), [(112, (28, 28, 14, 14)), (64, (16, 16, 8, 8)), (56, (14, 14, 7, 7)), (32, (8, 8, 4, 4))])
def test_grids_at_other_sizes(image_size: int, grids: tuple[int, ...]) -> None:
    backbone = TinyBackbone()
    encoder = SeparableEncoder(5, backbone.tap_shapes(image_size), image_size, EncoderSettings(channels=16))
    features = backbone(torch.rand(2, 3, image_size, image_size))
    assert [tuple(part.shape[1:]) for part in encoder.branch_features(features)] == [(16, grid, grid) for grid in grids]
    assert encoder(features).shape == (2, 5)


@pytest.mark.parametrize("share", [True, False])
def test_readout_equals_sums_written_out(share: bool) -> None:
    encoder = _scramble(SeparableEncoder(2, TAPS, 32, EncoderSettings(channels=2, share_space=share)))
    parts = encoder.branch_features(_features(1))
    for voxel in range(2):
        total = 0.0
        for branch, part in enumerate(parts):
            space, mix = encoder.space_of(branch)[voxel], encoder.channel_mix[branch][voxel].view(2, 3, 3)
            unit = encoder.channel_bias[branch][voxel].item()
            for c, ky, kx in itertools.product(range(2), range(3), range(3)):
                edge = space.shape[0]
                unit += (mix[c, ky, kx] * (space * part[0, c, ky : ky + edge, kx : kx + edge]).sum()).item()
            total += abs(encoder.branch_mix[voxel, branch].item()) * unit
        assert encoder.readout_factorised(parts)[0, voxel].item() == pytest.approx(total, rel=1e-4)


def test_a_planted_readout_sees_one_place() -> None:
    encoder = SeparableEncoder(1, TAPS, 32, SMALL).eval()
    parts = [torch.rand(1, 2, grid, grid) for grid in encoder.grids]
    with torch.no_grad():
        for parameter in (*encoder.space, *encoder.channel_mix, *encoder.channel_bias, encoder.branch_mix):
            parameter.zero_()
        encoder.space_of(0)[0, 4, 1] = 1
        encoder.channel_mix[0][0, 1 * 9 + 2 * 3 + 0] = 1  # channel 1, ky 2, kx 0
        encoder.branch_mix[0, 0] = -2  # its sign does not count
        assert encoder.readout_factorised(parts).item() == pytest.approx(2 * parts[0][0, 1, 6, 1].item())
        kernel = encoder.fold().branch(0)[0]
    assert kernel[1, 6, 1] != 0
    assert int((kernel != 0).sum()) == 1


@settings(max_examples=15, deadline=None)
@given(
    share=st.booleans(),
    affine=st.booleans(),
    kernel=st.sampled_from([1, 3]),
    n_voxels=st.integers(1, 7),
    channels=st.integers(1, 4),
    dropout_on=st.sampled_from(["stack", "mix"]),
    seed=st.integers(0, 1000),
)
def test_folded_equals_factorised(share: bool, affine: bool, kernel: int, n_voxels: int, channels: int, dropout_on: str, seed: int) -> None:
    configuration = EncoderSettings(channels=channels, share_space=share, input_affine=affine, last_kernel=kernel, dropout_on=dropout_on)
    encoder = _scramble(SeparableEncoder(n_voxels, TAPS, 32, configuration), seed)
    features = _features(seed=seed)
    with torch.no_grad():
        parts = encoder.branch_features(features)
        factorised = encoder.readout_factorised(parts)
        assert _relative(encoder.readout_folded(parts), factorised) < 1e-4
        assert _relative(encoder.fold()(encoder.activations(features)), factorised) < 1e-4
        assert _relative(encoder(features), factorised) < 1e-4
        encoder.branch_mix.neg_()
        assert _relative(encoder(features), factorised) < 1e-4


def test_folded_and_factorised_have_the_same_gradients() -> None:
    encoder = _scramble(SeparableEncoder(4, TAPS, 32, SMALL))
    parts = [part.detach() for part in encoder.branch_features(_features())]
    factors = [*encoder.space, *encoder.channel_mix, *encoder.channel_bias, encoder.branch_mix]
    cotangent = torch.randn(3, 4)
    for a, b in zip(
        torch.autograd.grad(encoder.readout_factorised(parts), factors, cotangent),
        torch.autograd.grad(encoder.readout_folded(parts), factors, cotangent),
        strict=True,
    ):
        assert _relative(a, b) < 1e-4


@pytest.mark.parametrize("limit", [2048, 0])
def test_frozen_encoder_predicts_the_same_and_takes_no_gradient(limit: int) -> None:
    backbone = TinyBackbone()
    encoder = SeparableEncoder(4, backbone.tap_shapes(32), 32, EncoderSettings(channels=2, fold_limit_mb=limit)).eval()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    before = encoder(backbone(images))
    expected = torch.autograd.grad(before.sum(), images)[0]
    encoder.freeze()
    after = encoder(backbone(images))
    assert _relative(after, before) < 1e-5
    after.sum().backward()
    assert images.grad is not None
    assert _relative(images.grad, expected) < 1e-3
    assert all(parameter.grad is None for parameter in (*encoder.parameters(), *backbone.parameters()))


def test_a_stale_fold_is_never_used() -> None:
    encoder = _scramble(SeparableEncoder(3, TAPS, 32, SMALL)).freeze()
    other = _scramble(SeparableEncoder(3, TAPS, 32, SMALL), seed=1)
    features = _features()
    nn.ModuleDict({"inner": encoder}).load_state_dict(nn.ModuleDict({"inner": other}).state_dict())
    assert _relative(encoder(features), other(features)) < 1e-5
    encoder.freeze().unfreeze()
    with torch.no_grad():
        encoder.branch_mix.mul_(2)
        assert _relative(encoder(features), 2 * other(features)) < 1e-5
    assert not any("fold" in key for key in encoder.freeze().state_dict())


def test_a_frozen_encoder_can_change_its_type() -> None:
    encoder = _scramble(SeparableEncoder(3, TAPS, 32, SMALL))
    features = _features()
    expected = encoder(features)
    double = encoder.freeze().double()
    assert _relative(double([part.double() for part in features]), expected) < 1e-5


@pytest.mark.parametrize("affine", [True, False])
def test_compact_features_give_the_same_responses(affine: bool) -> None:
    encoder = _scramble(SeparableEncoder(3, TAPS, 32, EncoderSettings(channels=2, input_affine=affine)))
    features = _features()
    compact = encoder.compact(features)
    assert torch.equal(encoder(compact), encoder(features))
    # pooling before a learned gain would be wrong where the gain is negative, so it is left undone there
    assert compact[0].shape[-1] == (32 if affine else 16)


def test_features_may_be_half_precision() -> None:
    encoder = _scramble(SeparableEncoder(3, TAPS, 32, SMALL))
    features = _features()
    halved = encoder([part.bfloat16() for part in features])
    assert halved.dtype == torch.float32
    assert _relative(halved, encoder(features)) < 0.05


@pytest.mark.parametrize("where", ["stack", "mix"])
def test_dropout_only_while_training_and_right_on_average(where: str) -> None:
    encoder = _scramble(SeparableEncoder(3, TAPS, 32, EncoderSettings(channels=2, dropout=0.5, dropout_on=where)))
    encoder.norms_frozen = True
    parts = encoder.branch_features(_features(1))
    still = encoder.readout_factorised(parts)
    assert torch.equal(encoder.readout_factorised(parts), still)
    encoder.train()
    read = encoder.readout_factorised if where == "stack" else encoder.readout_folded
    with torch.no_grad():
        draws = torch.stack([read(parts) for _ in range(800)])
    assert draws.std(0).min() > 0
    error = draws.std(0) / 800**0.5
    assert ((draws.mean(0) - still).abs() < 5 * error).all()


def test_dropout_on_the_stack_differs_between_images_and_on_the_mix_does_not() -> None:
    same = [part.expand(2, -1, -1, -1) for part in _features(1)]
    for where, equal in (("stack", False), ("mix", True)):
        encoder = _scramble(SeparableEncoder(3, TAPS, 32, EncoderSettings(channels=2, dropout_on=where)))
        encoder.norms_frozen = True
        first, second = encoder.train()(same)
        assert torch.allclose(first, second) is equal


def test_calibration_centres_and_scales_the_branches_for_good() -> None:
    encoder = SeparableEncoder(3, TAPS, 32, SMALL).eval()
    features = [3 + 5 * part for part in _features(64)]
    encoder.calibrate([features])
    for branch, tap, part in zip(encoder.branches, features, encoder.branch_features(features), strict=True):
        # a channel that is hardly ever above 0 stays small: the normalisation adds its epsilon to the variance
        active = branch.activate(tap).var(dim=(0, 2, 3))
        assert part.mean(dim=(0, 2, 3)).abs().max() < 1e-3
        assert torch.allclose(part.var(dim=(0, 2, 3)), active / (active + branch.norm_out.eps), atol=1e-3)
        assert active.max() > 0.01
    before = [buffer.clone() for buffer in encoder.buffers()]
    encoder.norms_frozen = True
    encoder.train()([10 * part for part in features])
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.buffers(), strict=True))
    encoder.norms_frozen = False
    encoder.train()([10 * part for part in features])
    assert not all(torch.equal(a, b) for a, b in zip(before, encoder.buffers(), strict=True))


def test_calibration_averages_over_batches() -> None:
    encoder = SeparableEncoder(3, TAPS, 32, SMALL).eval()
    encoder.calibrate([_features(8, seed) for seed in range(4)])
    norm = encoder.branches[1].norm_in
    together = torch.cat([_features(8, seed)[1] for seed in range(4)])
    assert torch.allclose(norm.running_mean, together.mean(dim=(0, 2, 3)), atol=1e-5)
    assert norm.momentum == 0.1


def test_taps_that_do_not_fit_are_named() -> None:
    with pytest.raises(ShapeError, match="multiple of 8, got 60; choose 56"):
        SeparableEncoder(3, TAPS, 60)
    with pytest.raises(ShapeError, match="a tap of 96 x 96 cannot feed a grid of 16"):
        SeparableEncoder(3, [(3, 96, 96)], 64)
    with pytest.raises(ShapeError, match="a 3x3 patch needs 3"):
        SeparableEncoder(3, TAPS, 16)
    encoder = SeparableEncoder(3, TAPS, 32)
    with pytest.raises(ShapeError, match="reads 4 taps, got 2"):
        encoder(_features()[:2])
    with pytest.raises(ShapeError, match="reads features of 32 px"):
        encoder([part[..., :7] for part in _features()][:1] * 4)
