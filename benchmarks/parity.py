"""Is our RS2-SAM 2 the released one? Compares every recorded array, loss and gradient norm, and prints a table.

    python benchmarks/parity.py

The released model was run in float32 with weights filled by a rule from the tensors' names; with the same weights and
inputs ours must give the same numbers. The recordings are in tests/fixtures/reference.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.mask_prompt import as_mask_prompt
from refersat.models.official import from_official, plan_conversion
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
CASES = ("small_public_0", "small_public_1")
TOLERANCE = 1e-3
"""Largest error allowed, relative to the spread (standard deviation) of the recorded array."""

_TABLE = re.compile(
    r"(text_embed|embed_positions\.[AB]|point_embeddings\.\d|not_a_point_embed|no_mask_embed|iou_token|mask_tokens|obj_score_token)\.weight$"
    r"|(cls_token|mask_token|pos_embed|pos_embed_window|maskmem_tpos_enc|no_mem_embed|no_mem_pos_enc|no_obj_ptr)$"
)
_GAIN = {
    "text_out_linear.weight": 2.0,
    "mask_product.weight": 3.0,
    "mask_downscaling.0.bias": 25.0,
    "mask_downscaling.6.weight": 8.0,
    "output_hypernetworks_mlps.0.layers.2.bias": -30.0,
}


def fill_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value that the recording gave to the released tensor of that name."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if name.endswith("positional_encoding_gaussian_matrix"):
        return noise
    if _TABLE.search(name):
        return np.float32(0.1) * noise
    if len(shape) == 1 and name.endswith(".weight"):
        return np.float32(1) + np.float32(0.05) * noise
    scale = 0.02 if len(shape) == 1 else 1.0 / np.sqrt(np.prod(shape[1:], dtype=np.float64))
    for suffix, gain in _GAIN.items():
        if name.endswith(suffix):
            scale *= gain
    return noise * np.float32(scale)


def released_small_keys() -> dict[str, list[int]]:
    """Released names and shapes of the small configuration."""
    shapes: dict[str, list[int]] = json.loads(gzip.decompress((FIXTURES / "keys_small.json.gz").read_bytes()))
    return shapes


def filled_model() -> RS2Sam2Model:
    """The small configuration with the recording's weights, in evaluation mode."""
    released = {
        name: torch.from_numpy(fill_tensor(name, tuple(shape))) for name, shape in released_small_keys().items()
    }
    model = RS2Sam2Model(RS2Sam2Config.reference_small())
    model.load_state_dict(from_official(released), strict=True)
    return model.eval()


def load_case(name: str) -> dict[str, np.ndarray]:
    """The arrays of one recording."""
    with np.load(FIXTURES / "reference" / f"{name}.npz") as arrays:
        return dict(arrays)


def inputs(case: dict[str, np.ndarray]) -> tuple[dict[str, Tensor], Tensor]:
    """The recording's inputs (keyword arguments of the model) and target (B, 1, 1024, 1024)."""
    rng = np.random.default_rng(int(case["seed"]))
    batch = int(case["batch"])
    image = rng.standard_normal((batch, 3, 1024, 1024), dtype=np.float32)
    union = rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)
    target = rng.integers(0, 2, size=(batch, 32, 32)).repeat(32, axis=1).repeat(32, axis=2)
    rows = case["samples"]
    np.testing.assert_array_equal(image[rows][:, :, ::256, ::256], case["image_probe"])
    np.testing.assert_array_equal(union[rows][:, :, ::56, ::56], case["image_evf_probe"])
    np.testing.assert_array_equal(target[rows][:, ::32, ::32], case["target_coarse"])
    return {
        "pixel_values": torch.from_numpy(image[rows]),
        "union_pixel_values": torch.from_numpy(union[rows]),
        "input_ids": torch.from_numpy(case["input_ids"]),
        "attention_mask": torch.from_numpy(case["attention_mask"]),
    }, torch.from_numpy(target[rows]).float()[:, None]


def released_losses(model: RS2Sam2Model, arguments: dict[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    """The released loss at batch 1: dice is a sum over the two classes, the boundary is of the hard mask."""
    output = model(**arguments)
    losses = {
        "loss_ce": cross_entropy(output.logits, target).sum(),
        "loss_dice_sum": 2 * dice(output.logits, target).sum(),
        "loss_boundary": boundary(output.logits, target, output.text_weight, kind="released").sum(),
    }
    total = 0.9 * losses["loss_ce"] + 0.1 * losses["loss_dice_sum"] + 0.2 * losses["loss_boundary"]
    return losses | {"loss_total": total}


def record(model: RS2Sam2Model, arguments: dict[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    """Everything that the recordings hold, from our model, under their names and with their strides."""
    seen: dict[str, Any] = {}
    hooks = _watch(model, seen)
    with torch.no_grad():
        output = model(**arguments)
        losses = released_losses(model, arguments, target)
    for hook in hooks:
        hook.remove()
    maps, text_out = seen["trunk"]
    features = output.features
    arrays = {
        "beit_out": seen["union_norm"][:, ::8, ::8],
        "cls": seen["union"].cls,
        "vmtoken": (seen["union"].cls * seen["mask_prompt_attention"][0]).transpose(0, 1),
        "pseudo_mask": output.pseudo_mask,
        "cls_proj": seen["token_mlp"],
        "text_feat": seen["text_projection"],
        "block0_text": seen["block0"][1][:, :, ::4],
        "trunk_text_out": text_out,
        "patch_embed": seen["patch_embed"][:, ::16, ::16, ::8],
        **{
            f"hiera_stage{stage + 1}": maps[stage].permute(0, 3, 1, 2)[:, ::channels, ::step, ::step]
            for stage, (channels, step) in enumerate(((16, 16), (32, 8), (64, 4), (128, 2)))
        },
        "fpn0": features[0][:, ::32, ::16, ::16],
        "fpn1": features[1][:, ::32, ::8, ::8],
        "fpn2": features[2][:, ::32, ::4, ::4],
        "high_res_s0": seen["conv_s0"][:, ::4, ::16, ::16],
        "high_res_s1": seen["conv_s1"][:, ::8, ::8, ::8],
        "image_embed": seen["encoder_fusion_in"][0][:, ::32, ::4, ::4],
        "image_pe": seen["encoder_fusion_in"][1][:, ::8, ::8, ::8],
        "decoder_fused_image": seen["encoder_fusion"][:, ::32, ::4, ::4],
        "mask_prompt_256": as_mask_prompt(output.pseudo_mask, (256, 256))[:, :, ::8, ::8],
        "sparse_embeddings": seen["token_mlp"],
        "dense_embeddings": seen["mask_embed"][:, ::32, ::4, ::4],
        "decoder_tokens_out": seen["two_way"][0][:, 0],
        "decoder_src_out": seen["two_way"][1][:, 0, ::64, ::16],
        "low_res_masks": output.low_res_logits,
        "pred_masks": output.logits[:, :, ::8, ::8],
        "iou_pred": output.iou_scores[:, None],
        "object_score_logits": output.presence_logits[:, None],
        "text_weight": output.text_weight,
    }
    return arrays | losses


def _watch(model: RS2Sam2Model, seen: dict[str, Any]) -> list[Any]:
    """Keep what the parts of the model put out, under a name each."""

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, taken: Any, given: Any) -> None:
            seen.setdefault(name, given)
            seen.setdefault(f"{name}_in", taken)

        return hook

    parts = {
        "union": model.union_encoder,
        "union_norm": model.union_encoder.norm,
        "mask_prompt_attention": model.mask_prompt.attention,
        "token_mlp": model.token_mlp,
        "text_projection": model.text_projection,
        "trunk": model.trunk,
        "patch_embed": model.trunk.patch_embed,
        "block0": model.trunk.blocks[0],
        "conv_s0": model.mask_decoder.conv_s0,
        "conv_s1": model.mask_decoder.conv_s1,
        "encoder_fusion": model.encoder_fusion,
        "mask_embed": model.prompt_encoder.mask_embed,
        "two_way": model.mask_decoder.transformer,
    }
    return [part.register_forward_hook(keep(name)) for name, part in parts.items()]


def errors(recorded: dict[str, np.ndarray], ours: dict[str, Tensor]) -> dict[str, float]:
    """Largest error of each recorded array, relative to the array's spread (its size, where it is a single number)."""
    result = {}
    for name, value in ours.items():
        expected = recorded[name].astype(np.float64)
        given = value.detach().double().numpy().reshape(expected.shape)
        spread = expected.std() if expected.size > 1 else abs(float(expected.reshape(-1)[0]))
        result[name] = float(np.abs(given - expected).max() / spread)
    return result


def gradient_errors(model: RS2Sam2Model) -> dict[str, float]:
    """Error of each recorded gradient norm of the released loss, relative to the norm plus a small absolute term.

    The recording lists the parameters that the released training moves; the trunk and neck are frozen there. Key biases
    of the decoder's attention have a gradient of rounding noise only, hence the absolute term.
    """
    case = load_case("small_public_0")
    arguments, target = inputs(case)
    model.zero_grad()
    model.train()
    released_losses(model, arguments, target)["loss_total"].backward()
    model.eval()
    expected = json.loads((FIXTURES / "reference" / "small_public_0_gradnorms.json").read_text())
    parameters = dict(model.named_parameters())
    result = {}
    for name, sources in plan_conversion(released_small_keys()).sources.items():
        if not any(source in expected for source in sources):
            continue
        gradient = parameters[name].grad
        ours = 0.0 if gradient is None else float(gradient.double().square().sum().sqrt())
        norm = float(np.sqrt(sum(expected[source] ** 2 for source in sources)))
        result[name] = abs(ours - norm) / (norm + 1e-4)
    return result


def main() -> None:
    """Print the table; exit with 1 when anything is off."""
    torch.set_num_threads(2)
    model = filled_model()
    worst: dict[str, float] = {}
    for name in CASES:
        case = load_case(name)
        for array, error in errors(case, record(model, *inputs(case))).items():
            worst[array] = max(error, worst.get(array, 0.0))
    print(f"| recorded array | largest error / spread ({len(CASES)} cases) |\n|---|---|")
    for array, error in worst.items():
        print(f"| {array} | {error:.1e} |")
    gradients = gradient_errors(model)
    print(f"\nlargest: {max(worst.values()):.1e} of {len(worst)} arrays and losses; allowed {TOLERANCE:.0e}")
    name = max(gradients, key=gradients.__getitem__)
    print(f"gradient norms: {len(gradients)} parameters, largest relative error {gradients[name]:.1e} ({name})")
    if not (max(worst.values()) <= TOLERANCE and gradients[name] <= TOLERANCE):  # NaN is off, too
        raise SystemExit(1)


if __name__ == "__main__":
    main()
