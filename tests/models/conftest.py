"""A tiny RS2-SAM 2, written the way releases are: with the released names, in float16, in four kinds of files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from refersat.models.official import plan_conversion
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import train_tokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
TRUNK = {"trunk_heads": [1, 2, 4, 8], "trunk_windows": [8, 4, 14, 7], "trunk_global_blocks": [5, 7, 9]}
POINTS = [f"visual_model.sam_prompt_encoder.point_embeddings.{index}.weight" for index in range(4)]


def released_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Parameter names and shapes of a release: keys_large, keys_small, sam2_hiera_large_keys or beit3_large_keys."""
    with gzip.open(FIXTURES / f"{name}.json.gz", "rt", encoding="utf-8") as stream:
        return {key: tuple(shape) for key, shape in json.load(stream).items()}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """So small a model waits for its threads more than it computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shapes_of() -> Callable[[str], dict[str, tuple[int, ...]]]:
    return released_shapes


@pytest.fixture(scope="session")
def tiny_config() -> RS2Sam2Config:
    return RS2Sam2Config(
        image_size=64,
        hidden_size=32,
        union_image_size=32,
        union_width=64,
        union_layers=2,
        union_heads=1,
        union_feed_forward=32,
        vocab_size=80,
        text_positions=40,
        max_text_length=12,
        trunk_widths=[16, 32, 64, 128],
        trunk_depths=[1, 2, 7, 2],
        decoder_feed_forward=48,
        **TRUNK,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: RS2Sam2Config) -> RS2Sam2Model:
    """Random weights that half precision holds exactly, so that every kind of file gives the same model."""
    torch.manual_seed(0)
    model = RS2Sam2Model(tiny_config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_((torch.randn(tensor.shape, generator=generator) * 0.2).half())
    return model


@pytest.fixture(scope="session")
def tiny_released(tiny_model: RS2Sam2Model) -> dict[str, Tensor]:
    """Its weights under their released names, float16, with tensors beside that the adapter drops."""
    state = {name: tensor.half() for name, tensor in tiny_model.state_dict().items()}
    points = dict(zip(POINTS, state.pop("prompt_encoder.point_embed.weight").split(1), strict=True))
    names = [name for name in released_shapes("keys_small") if name not in points]
    plan = plan_conversion(names)
    released = {sources[0]: state[name].contiguous() for name, sources in plan.sources.items()}
    return released | points | {name: torch.zeros(1, dtype=torch.float16) for name in plan.dropped}


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spm")
    train_tokenizer([f"the {size} ship on the {side}" for size in "ab" for side in ("left", "right")], folder, 60)
    return folder / "sentencepiece.bpe.model"


def _write(folder: Path, kind: str, weights: dict[str, Tensor]) -> None:
    sharded, suffix = kind.startswith("sharded"), kind.rpartition(" ")[2]
    stem, extension = ("model", ".safetensors") if suffix == "safetensors" else ("pytorch_model", ".bin")
    names = sorted(weights)
    # Every third name in another shard, so that the four point embeddings do not lie together.
    parts = [names[start::3] for start in range(3)] if sharded else [names]
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"{stem}-{number:05d}-of-00003{extension}" if sharded else f"{stem}{extension}"
        tensors = {name: weights[name].clone() for name in part}
        if extension == ".safetensors":
            save_file(tensors, folder / file, metadata={"format": "pt"})
        else:
            torch.save(tensors, folder / file)
        weight_map |= dict.fromkeys(part, file)
    if sharded:
        (folder / f"{stem}{extension}.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.fixture(scope="session")
def write_released(tiny_released: dict[str, Tensor], tokenizer_file: Path) -> Callable[..., Path]:
    """Writes the tiny model as a release would: `kind` is "whole" or "sharded" and "safetensors" or "bin"."""

    def write(folder: Path, kind: str = "whole safetensors", *, tokenizer: bool = True, **config: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        description = {
            "model_type": "evf",
            "hidden_size": 64,
            "out_dim": 32,
            "mm_extractor_scale": "large",
            "refersat": {"image_size": 64, "max_text_length": 12, **TRUNK},
        }
        (folder / "config.json").write_text(json.dumps(description | config))
        if tokenizer:
            (folder / "sentencepiece.bpe.model").write_bytes(tokenizer_file.read_bytes())
        _write(folder, kind, tiny_released)
        return folder

    return write


@pytest.fixture
def own_folder(tmp_path: Path, tiny_model: RS2Sam2Model, tokenizer_file: Path) -> Path:
    """The tiny model in our layout, as `save_pretrained` writes it."""
    folder = tmp_path / "own"
    tiny_model.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(tokenizer_file.read_bytes())
    return folder
