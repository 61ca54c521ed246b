"""The fast form of a model computes what the plain one does, and takes no more memory."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import CASES, errors, filled_model, inputs, load_case, record
from torch import Tensor

from refersat.models.hiera import ConvolutionalStem, FusedBlock
from refersat.models.mask_refiner import MaskRefiner
from refersat.models.optimized import can_optimize, optimize
from refersat.models.optimized.attention import attend
from refersat.models.optimized.bands import in_bands
from refersat.models.optimized.convolutions import FastStem, PackedConvolution
from refersat.models.optimized.packed import PackedLinear, side_by_side, summed
from refersat.models.optimized.refiner import FastRefiner
from refersat.models.rs2sam2 import RS2Sam2Model
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, IDS, MASK, answer, make_model, numbers, views

CPU = torch.device("cpu")


def fast(model: RS2Sam2Model, dtype: torch.dtype = torch.float32) -> RS2Sam2Model:
    """A copy in its fast form."""
    model = copy.deepcopy(model)
    optimize(model, CPU, dtype)
    return model


def needs(dtype: torch.dtype) -> pytest.MarkDecorator:
    # Without oneDNN's kernels the plain model runs, which test_another_device_keeps_the_plain_model covers.
    return pytest.mark.skipif(not can_optimize(CPU, dtype), reason=f"this processor has no fast form in {dtype}")


def half(tensor: Tensor) -> Tensor:
    return tensor.bfloat16() if tensor.is_floating_point() else tensor


def in_bfloat16(model: RS2Sam2Model) -> RS2Sam2Model:
    """With the weights that loading leaves in float32."""
    frequencies = model.prompt_encoder.shared_embedding.positional_embedding.clone()
    model.bfloat16()
    model.prompt_encoder.shared_embedding.positional_embedding = frequencies
    return model


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_gives_the_plain_numbers(name: str) -> None:
    plain = make_model(**CONFIGURATIONS[name])
    model = fast(plain)
    assert not any(isinstance(module, FusedBlock) for module in model.modules()), "nothing was replaced"
    expected, given = numbers(answer(plain)), numbers(answer(model))
    assert given.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(given[key], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_bands_of_a_few_rows_give_the_plain_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_model(**CONFIGURATIONS[name])
    model = fast(plain)
    monkeypatch.setattr("refersat.models.optimized.bands.BAND_BYTES", 2**13)
    torch.testing.assert_close(answer(model).logits, answer(plain).logits, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("least", "times"), [(0, 5), (10**9, 0)])
def test_only_large_models_give_memory_back(least: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refersat.models.optimized.LARGE_MODEL", least)
    model = fast(make_model())
    given: list[int] = []
    monkeypatch.setattr("refersat.models.optimized.give_back", lambda: given.append(1))
    answer(model)
    assert len(given) == times  # after each of the trunk's stages and after the answer


def test_bands_keep_their_units_and_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.arange(2 * 14 * 3.0).view(2, 14, 3)
    lengths = []

    def work(band: Tensor) -> Tensor:
        lengths.append(band.shape[1])
        return 2 * band

    monkeypatch.setattr("refersat.models.optimized.bands.BAND_BYTES", 20)
    assert torch.equal(in_bands(work, features, 1, unit=2, size=10), 2 * features)
    assert lengths == [4, 4, 4, 2]
    in_bands(work, features, 1, unit=7, size=1000)
    assert lengths[4:] == [7, 7]  # one unit at least


@torch.inference_mode()
def test_a_padded_batch_gives_what_its_samples_give_alone() -> None:
    model = fast(make_model())
    pixels, union = views()
    together = answer(model)
    assert together.logits is not None
    for row in range(len(IDS)):
        length = int(MASK[row].sum())
        alone = model(
            pixels[row : row + 1], union[row : row + 1], IDS[row : row + 1, :length], MASK[row : row + 1, :length]
        )
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_several_phrases_about_one_image_give_what_each_gives_alone() -> None:
    model = fast(make_model(**CONFIGURATIONS["built-in"]))
    pixels, union = views(1)
    together = model(pixels, union, IDS, MASK)
    for row in range(len(IDS)):
        alone = model(pixels, union, IDS[row : row + 1], MASK[row : row + 1])
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-4)


@given(height=st.integers(8, 30), width=st.integers(8, 30), phrases=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
@torch.inference_mode()
def test_the_refiner_sees_all_that_counts(height: int, width: int, phrases: int, seed: int) -> None:
    torch.manual_seed(seed)
    plain = MaskRefiner(5, 6).eval()
    torch.nn.init.normal_(plain.correction.weight)  # a fresh one corrects nothing
    # Of masks one shows nothing, the others an object: all of its edges are in a part of the image.
    drawn = torch.full((2 * phrases, 1, height, width), -3.0)
    for number in range(1, len(drawn)):
        top, left = (int(torch.randint(0, side - 3, ())) for side in (height, width))
        drawn[number, :, top : top + 3, left : left + 4] = 2 * torch.rand(()) + 0.1
    drawn += 0.05 * torch.randn_like(drawn)
    seen = plain.look(torch.randn(2, 3, 4 * height, 4 * width), torch.randn(2, 5, height, width))
    torch.testing.assert_close(FastRefiner(plain)(drawn, seen), plain(drawn, seen), atol=1e-4, rtol=1e-4)


def test_optimizing_twice_changes_nothing() -> None:
    model = fast(make_model())
    modules = list(model.modules())
    optimize(model, CPU, torch.float32)
    assert list(model.modules()) == modules


def test_another_device_keeps_the_plain_model() -> None:
    model = make_model()
    optimize(model, torch.device("meta"), torch.float32)
    assert any(isinstance(module, FusedBlock) for module in model.modules())


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", CASES)
def test_float32_is_the_released_model(name: str) -> None:
    case = load_case(name)
    compared = errors(case, record(fast(filled_model()), *inputs(case)))
    assert {key: error for key, error in compared.items() if not error < 1e-4} == {}


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", CASES)
def test_bfloat16_draws_the_masks_of_the_released_model(name: str) -> None:
    arguments, _ = inputs(load_case(name))
    plain = filled_model()
    expected = plain(**arguments).logits
    model = in_bfloat16(plain)
    optimize(model, CPU, torch.bfloat16)  # where the processor lacks it, the plain model in bfloat16 is measured
    given = model(**{key: half(tensor) for key, tensor in arguments.items()}).logits
    threshold = model.config.mask_threshold
    equal = ((given > threshold) == (expected > threshold)).float().mean()
    difference = (model.probability(given) - model.probability(expected)).abs().mean()
    assert equal >= 0.995
    assert difference < 0.005


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(6, 10, 7), (1, 40, 50), (3, 1, 9)])
def test_attention_in_pieces_is_attention(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    groups, rows, columns = shape
    query = torch.randn(groups, rows, 8)
    key, value = torch.randn(2, groups, columns, 8)
    expected = torch.softmax(query @ key.transpose(1, 2) * 8**-0.5, -1) @ value
    for room in (4, 4 * 7 * columns, 4 * 2 * rows * columns, 2**20):
        monkeypatch.setattr("refersat.models.optimized.attention.CACHE_BYTES", room)
        torch.testing.assert_close(attend(query, key, value), expected)


@torch.inference_mode()
@pytest.mark.parametrize("blocks", [False, True])
def test_attention_of_a_large_window_in_bfloat16(blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refersat.models.optimized.attention.CACHE_BYTES", 64)
    monkeypatch.setattr("refersat.models.optimized.attention.multiplies_blocks", lambda: blocks)
    query, key, value = torch.randn(3, 2, 70, 8).bfloat16()
    expected = torch.softmax((query @ key.transpose(1, 2)).float() * 8**-0.5, -1) @ value.float()
    torch.testing.assert_close(attend(query, key, value).float(), expected, rtol=0.02, atol=0.02)


@torch.inference_mode()
def test_packed_layers_are_the_layers() -> None:
    one, two = torch.nn.Linear(12, 20), torch.nn.Linear(12, 7)
    features, residual = torch.randn(2, 5, 12), torch.randn(2, 5, 20)
    torch.testing.assert_close(PackedLinear.of(one)(features), one(features))
    torch.testing.assert_close(PackedLinear.of(one)(features, residual=residual), one(features) + residual)
    joined = torch.nn.functional.gelu(torch.cat([one(features), two(features)], dim=-1))
    torch.testing.assert_close(side_by_side([one, two], gelu=True)(features), joined)
    back, other = torch.nn.Linear(20, 4), torch.nn.Linear(7, 4)
    expected = back(joined[..., :20]) + 0.5 * other(joined[..., 20:])
    torch.testing.assert_close(summed([back, other], [1, 0.5])(joined), expected)


@pytest.mark.parametrize(
    "dtype",
    [pytest.param(each, marks=needs(each), id=str(each)) for each in (torch.float32, torch.bfloat16)],
)
# PyTorch's own, too, gives NaN in bfloat16 with AMX, stride 2 and one or two columns; a view has 128 at least.
@given(height=st.integers(4, 40), width=st.integers(4, 40), stride=st.sampled_from([1, 2]))
@settings(max_examples=20, deadline=None)
@torch.inference_mode()
def test_packed_convolutions_are_the_convolutions(dtype: torch.dtype, height: int, width: int, stride: int) -> None:
    torch.manual_seed(height)
    plain = torch.nn.Conv2d(8, 16, kernel_size=3, stride=stride, padding=1).to(dtype)
    features = torch.randn(2, 8, height, width).to(dtype)
    expected = copy.deepcopy(plain).float()(features.float())
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.03, "rtol": 0.01}
    packed = PackedConvolution(plain)
    torch.testing.assert_close(packed(features).float(), expected, **tolerance)
    residual = torch.randn_like(expected).to(dtype)
    kept = residual.clone()
    torch.testing.assert_close(packed(features, residual=residual).float(), expected + residual.float(), **tolerance)
    assert torch.equal(residual, kept)


@needs(torch.float32)
@torch.no_grad()
def test_the_stem_and_its_positions_are_the_plain_ones() -> None:
    torch.manual_seed(0)
    stem = ConvolutionalStem(16)
    pixels = torch.randn(2, 3, 64, 96)
    expected = stem(pixels)
    torch.testing.assert_close(FastStem(stem)(pixels), expected, atol=1e-5, rtol=1e-5)

    trunk = make_model(**CONFIGURATIONS["built-in"]).trunk
    plain = trunk._positions(24, 24)
    optimize(trunk, CPU, torch.float32)
    assert trunk._positions(24, 24) is trunk._positions(24, 24)
    assert torch.equal(trunk._positions(24, 24), plain)
    assert trunk._positions(16, 8).shape == (1, 16, 8, plain.shape[-1])

    gone = weakref.ref(trunk)
    del trunk
    assert gone() is None  # no cycle keeps a large model until somebody collects garbage
