"""Released names become ours, every one of them accounted for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from refersat.errors import UserError
from refersat.models.official import from_official, plan_conversion
from refersat.models.official_config import released_config
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model

Shapes = dict[str, tuple[int, ...]]
ShapesOf = Callable[[str], Shapes]

ADDED_BY_RS2SAM2 = (
    "Adapter",
    "vlfusion_module",
    "text_feat_linear",
    "vmtoken",
    "mask_linear",
    "mask_product",
    "meo_linear",
    "text2one_linear",
)


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def model_on_meta(config: RS2Sam2Config) -> RS2Sam2Model:
    with torch.device("meta"):
        return RS2Sam2Model(config)


def evf_sam2(shapes_of: ShapesOf) -> Shapes:
    """EVF-SAM 2 is RS2-SAM 2 without what that adds."""
    large = shapes_of("keys_large")
    return {name: shape for name, shape in large.items() if not any(part in name for part in ADDED_BY_RS2SAM2)}


def test_the_released_checkpoint_fills_the_large_model(shapes_of: ShapesOf) -> None:
    shapes = shapes_of("keys_large")
    assert len(shapes) == 2853
    model = model_on_meta(RS2Sam2Config.large())
    model.load_state_dict(from_official(on_meta(shapes)), strict=True, assign=True)
    plan = plan_conversion(shapes)
    used = [name for sources in plan.sources.values() for name in sources]
    assert sorted([*used, *plan.dropped]) == sorted(shapes)
    parameters = sum(tensor.numel() for tensor in model.state_dict().values())
    dropped = sum(torch.Size(shapes[name]).numel() for name in plan.dropped)
    assert parameters + dropped == sum(torch.Size(shape).numel() for shape in shapes.values())


def test_what_is_dropped_is_what_single_images_never_use(shapes_of: ShapesOf) -> None:
    dropped = plan_conversion(shapes_of("keys_large")).dropped
    tops = {name.removeprefix("visual_model.").split(".")[0] for name in dropped}
    assert tops == {
        "maskmem_tpos_enc",
        "mask_downsample",
        "memory_attention",
        "memory_encoder",
        "meo_linear",
        "mm_extractor",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "obj_ptr_proj",
    }
    beit3 = [name for name in dropped if name.startswith("mm_extractor")]
    assert beit3 == ["mm_extractor.beit3.vision_embed.mask_token"]
    assert all(dropped.values())


def test_the_small_checkpoint_loads_in_real_memory(shapes_of: ShapesOf) -> None:
    released = {name: torch.empty(shape, dtype=torch.float16) for name, shape in shapes_of("keys_small").items()}
    model = model_on_meta(RS2Sam2Config.reference_small())
    model.load_state_dict(from_official(released), strict=True, assign=True)
    tensors = model.state_dict().values()
    assert all(tensor.dtype == torch.float16 and not tensor.is_meta for tensor in tensors)


def test_evf_sam2_fills_its_own_configuration(shapes_of: ShapesOf) -> None:
    shapes = evf_sam2(shapes_of)
    plan = plan_conversion(shapes)
    assert plan.family == "evf-sam2"
    model_on_meta(RS2Sam2Config.evf_sam2()).load_state_dict(from_official(on_meta(shapes)), strict=True, assign=True)


@pytest.mark.parametrize(
    ("keys", "family", "covers"),
    [
        (
            "sam2_hiera_large_keys",
            "sam2",
            ("mask_decoder", "neck", "no_memory_embedding", "prompt_encoder", "trunk"),
        ),
        ("beit3_large_keys", "beit3", ("union_encoder",)),
    ],
)
def test_sam2_and_beit3_fill_their_parts(shapes_of: ShapesOf, keys: str, family: str, covers: tuple[str, ...]) -> None:
    shapes = shapes_of(keys)
    plan = plan_conversion(shapes)
    assert (plan.family, plan.covers) == (family, covers)
    model = model_on_meta(RS2Sam2Config.large())
    wrapped: dict[str, Tensor] = {"model": on_meta(shapes)}  # type: ignore[dict-item]
    state = from_official(wrapped)
    left = model.load_state_dict(state, strict=False, assign=True)
    assert not left.unexpected_keys
    added = ("fusion", "adapter")
    missed = [name for name in left.missing_keys if name.split(".")[0] in covers]
    assert all(any(part in name for part in added) for name in missed)


def test_tensors_are_renamed_not_copied(tiny_released: dict[str, Tensor], tiny_model: RS2Sam2Model) -> None:
    state = from_official(tiny_released)
    plan = plan_conversion(tiny_released)
    for name, sources in plan.sources.items():
        if len(sources) == 1:
            assert state[name] is tiny_released[sources[0]]
    assert plan.sources["prompt_encoder.point_embed.weight"] == tuple(
        f"visual_model.sam_prompt_encoder.point_embeddings.{index}.weight" for index in range(4)
    )
    expected = tiny_model.state_dict()
    assert all(torch.equal(state[name].float(), expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        # The released names of the two attentions say the reverse of what they do.
        ("trunk.blocks.3.Space_Adapter.vlfusion_module", "trunk.blocks.3.fusion.image_from_text"),
        ("trunk.blocks.3.Space_Adapter.lvfusion_module", "trunk.blocks.3.fusion.text_from_image"),
    ],
)
def test_the_crossed_attentions(released: str, ours: str, shapes_of: ShapesOf) -> None:
    sources = plan_conversion(shapes_of("keys_large")).sources
    for part in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
        assert sources[f"{ours}.{part}"] == (f"visual_model.image_encoder.{released}.multihead_attn.{part}",)


@pytest.mark.parametrize(
    ("keys", "extra"),
    [
        ("keys_small", "visual_model.image_encoder.trunk.blocks.0.norm3.weight"),
        ("keys_small", "visual_model.sam_mask_decoder.conv_s0.weight.more"),
        ("keys_small", "mm_extractor.beit3.encoder.layers.0.self_attn.q_proj.C.weight"),
        ("keys_small", "mm_extractor.sam_mask_decoder.conv_s0.weight"),
        ("keys_small", "image_encoder.trunk.pos_embed"),
        ("keys_small", "new_linear.weight"),
        ("sam2_hiera_large_keys", "no_obj_embed_spatial"),
        ("beit3_large_keys", "mim_head.fc.weight"),
    ],
)
def test_unknown_names_are_an_error_that_lists_them(shapes_of: ShapesOf, keys: str, extra: str) -> None:
    names = [*shapes_of(keys), extra]
    with pytest.raises(UserError) as caught:
        plan_conversion(names)
    assert str(caught.value).startswith(f"1 of {len(names)} weights")
    assert str(caught.value).endswith(f": {extra}")


def test_many_unknown_names_are_counted(shapes_of: ShapesOf) -> None:
    with pytest.raises(UserError, match=r"^7 of .*: odd0, odd1, odd2, odd3, odd4 and 2 more$"):
        plan_conversion([*shapes_of("keys_small"), *(f"odd{index}" for index in range(7))])


def test_a_missing_point_embedding_is_an_error(tiny_released: dict[str, Tensor]) -> None:
    gone = "visual_model.sam_prompt_encoder.point_embeddings.2.weight"
    with pytest.raises(UserError, match=r"1 of 4 point embeddings .*embeddings\.2\.weight"):
        from_official({name: tensor for name, tensor in tiny_released.items() if name != gone})


@pytest.mark.parametrize("state", [{}, {"model": {}}, {"layer.weight": torch.zeros(1)}])
def test_other_weights_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="no known release"):
        from_official(state)


def test_configurations_are_told_from_the_weights(shapes_of: ShapesOf) -> None:
    for shapes, expected in (
        (shapes_of("keys_large"), RS2Sam2Config.large()),
        (shapes_of("keys_small"), RS2Sam2Config.reference_small()),
        (evf_sam2(shapes_of), RS2Sam2Config.evf_sam2()),
    ):
        told = released_config(plan_conversion(shapes), shapes, {"model_type": "evf", "sam_scale": "huge"})
        assert told.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("left_out", "field", "value"),
    [
        ("MLP_Adapter", "mlp_adapter", False),
        ("Space_Adapter", "block_fusion", "none"),
        ("text_out_linear|lvfusion", "block_fusion", "uni"),
        ("text_out_linear|text_in_linear|Space_Adapter.vlfusion|Space_Adapter.lvfusion", "block_fusion", "linear"),
        ("sam_mask_decoder.vlfusion", "encoder_fusion", False),
        ("vmtoken", "mask_prompt", "product"),
        ("vmtoken|mask_linear|mask_product", "mask_prompt", "none"),
        ("text2one", "boundary_scalar", False),
    ],
)
def test_ablations_are_told_from_the_weights(shapes_of: ShapesOf, left_out: str, field: str, value: object) -> None:
    shapes = {
        name: shape
        for name, shape in shapes_of("keys_small").items()
        if not any(part in name for part in left_out.split("|"))
    }
    config = released_config(plan_conversion(shapes), shapes, {})
    assert getattr(config, field) == value
    model_on_meta(config).load_state_dict(from_official(on_meta(shapes)), strict=True, assign=True)


def test_sizes_without_a_release_need_a_description(tiny_released: dict[str, Tensor]) -> None:
    plan = plan_conversion(tiny_released)
    shapes = {name: tuple(tensor.shape) for name, tensor in tiny_released.items()}
    with pytest.raises(UserError, match="trunk_heads"):
        released_config(plan, shapes, {})
    with pytest.raises(UserError, match="must hold configuration fields"):
        released_config(plan, shapes, {"refersat": "large"})
    fields = {
        "trunk_heads": [1, 2, 4, 8],
        "trunk_windows": [8, 4, 14, 7],
        "trunk_global_blocks": [5],
        "max_text_length": 12,
    }
    with pytest.raises(UserError, match="does not hold"):
        released_config(plan, shapes, {"refersat": fields | {"image_size": 65}})
    assert released_config(plan, shapes, {"refersat": fields | {"image_size": 64}}).image_size == 64


def test_a_part_is_no_whole_model(shapes_of: ShapesOf) -> None:
    shapes = shapes_of("beit3_large_keys")
    with pytest.raises(UserError, match="only start a training"):
        released_config(plan_conversion(shapes), shapes, {})
    shapes = {name: shape for name, shape in shapes_of("keys_small").items() if "text_embed" not in name}
    with pytest.raises(UserError, match=r"nothing there for union_encoder\.token_embed\.weight"):
        released_config(plan_conversion(shapes), shapes, {})
