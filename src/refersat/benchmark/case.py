"""The model and the inputs that both forms are measured with: the same in every process."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from refersat.models.rs2sam2 import RS2Sam2Model

Config = Literal["large", "built-in"]
CONFIGS: tuple[Config, ...] = ("large", "built-in")

PHRASE_TOKENS = 14
PHRASE = "the large ship on the left of the bridge"

TABLES = re.compile(
    r"(token_embed|(visual|text)_positions|no_mask_embed|point_embed|iou_token|mask_tokens|obj_score_token)\.weight$"
    r"|(cls_token|pos_embed|pos_embed_window|no_memory_embedding)$"
)
"""Weights that are looked up or added, not multiplied."""

GAINS = {
    "fusion.text_up.weight": 2,
    "mask_prompt.score.weight": 3,
    "mask_embed.conv1.bias": 25,
    "mask_embed.conv3.weight": 8,
    "output_hypernetworks_mlps.0.proj_out.bias": 30,
}

NOISE = 2**24
"""Numbers that all weights of a random model are cut from: to draw a billion would take longer than to run it."""


def make_model(config: Config, dtype: torch.dtype, device: str) -> RS2Sam2Model:
    """The model in evaluation mode: the built-in one as it ships, the large one with random weights."""
    if config == "built-in":
        from refersat.models.loading import LoadedModel, load_model

        loaded = load_model("built-in", device=device, dtype=dtype)
        assert isinstance(loaded, LoadedModel)
        return loaded.model
    from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model

    with torch.device("meta"):
        model = RS2Sam2Model(RS2Sam2Config.large())
    noise = torch.randn(NOISE, generator=torch.Generator().manual_seed(0))
    for name, tensor in model.state_dict().items():
        kept = torch.float32 if name.endswith("positional_embedding") else dtype
        place = torch.empty(tensor.shape, dtype=kept, device=device)  # before what is thrown away: leaves no holes
        model.load_state_dict({name: place.copy_(random_weight(name, tensor.shape, noise))}, strict=False, assign=True)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def random_weight(name: str, shape: torch.Size, noise: Tensor) -> Tensor:
    """A weight that lets signals pass at their size: norms about 1, matrices by the width that they read.

    A few are larger, so that every part of the model can be seen in its masks: those of the recordings of the release.
    """
    count = shape.numel()
    start = zlib.crc32(name.encode()) % len(noise)
    drawn = noise.roll(-start) if count > len(noise) - start else noise[start:]
    drawn = drawn.repeat(-(-count // len(drawn)))[:count].view(shape)
    if name.endswith("positional_embedding"):
        return drawn.clone()
    if TABLES.search(name):
        return 0.1 * drawn
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.05 * drawn
    scale = 0.02 if len(shape) == 1 else (count / shape[0]) ** -0.5
    return drawn * scale * next((gain for ending, gain in GAINS.items() if name.endswith(ending)), 1)


def make_inputs(config: Config, model: RS2Sam2Model, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments of the model, on the CPU in float32: `batch` pairs of an image and a phrase.

    Pixels are noise, as in the recordings of the released model; those of the built-in model have shapes as well,
    because it has learned to see nothing in noise.
    """
    generator = torch.Generator().manual_seed(1)
    size, union = model.config.image_size, model.config.union_image_size
    if config == "built-in":
        from refersat.models.loading import locate
        from refersat.models.preprocess import preprocess
        from refersat.text.tokenizer import TOKENIZER_FILE, PhraseTokenizer

        coarse = torch.rand(batch, 3, 12, 12, generator=generator)
        images = torch.nn.functional.interpolate(coarse, size=(512, 512), mode="bicubic").clamp(0, 1)
        arrays = [(255 * image.permute(1, 2, 0)).byte().numpy() for image in images]
        pixels, union_pixels = preprocess(arrays, model.config)
        tokenizer = PhraseTokenizer(locate("built-in")[0] / TOKENIZER_FILE, max_length=model.config.max_text_length)
        ids, mask = tokenizer([PHRASE] * batch)
        return pixels, union_pixels, ids, mask
    pixels = torch.randn(batch, 3, size, size, generator=generator)
    union_pixels = torch.randn(batch, 3, union, union, generator=generator)
    ids = torch.randint(4, model.config.vocab_size, (batch, PHRASE_TOKENS), generator=generator)
    ids[:, 0], ids[:, -1] = 0, 2
    return pixels, union_pixels, ids, torch.ones(batch, PHRASE_TOKENS, dtype=torch.bool)


def count_operations(config: Config, batch: int) -> int:
    """Floating-point operations of one forward pass, counted on tensors that have a size alone."""
    from torch.utils.flop_counter import FlopCounterMode

    from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model

    sizes = RS2Sam2Config.large() if config == "large" else RS2Sam2Config.built_in()
    with torch.device("meta"):
        model = RS2Sam2Model(sizes)
        model.eval()  # type: ignore[no-untyped-call]
        inputs = (
            torch.empty(batch, 3, sizes.image_size, sizes.image_size),
            torch.empty(batch, 3, sizes.union_image_size, sizes.union_image_size),
            torch.zeros(batch, PHRASE_TOKENS, dtype=torch.long),
            torch.ones(batch, PHRASE_TOKENS, dtype=torch.bool),
        )
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*inputs)
    return int(counter.get_total_flops())
