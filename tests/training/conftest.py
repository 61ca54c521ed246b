"""A tiny data set in the COCO layout, coloured rectangles on grey, and a recipe that trains a tiny model on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refersat.data.coco import read_coco
from refersat.data.generate import GenerateOptions, generate_triplets
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.corpus import corpus
from refersat.text.tokenizer import PhraseTokenizer, train_tokenizer
from refersat.training.recipe import Recipe

SIDE = 64
GROUND = (90, 90, 90)
COLOURS = {"ship": (230, 30, 30), "storage tank": (30, 30, 230)}

TINY_MODEL = {
    "hidden_size": 32,
    "union_image_size": 32,
    "union_width": 32,
    "union_layers": 1,
    "union_heads": 2,
    "union_feed_forward": 64,
    "vocab_size": 300,
    "text_positions": 34,
    "max_text_length": 32,
    "trunk_widths": [16, 32, 48, 64],
    "trunk_depths": [1, 1, 1, 1],
    "trunk_heads": [1, 1, 1, 1],
    "trunk_windows": [4, 4, 4, 4],
    "trunk_global_blocks": [3],
    "trunk_convolutions": [0, 1, 0, 0],
    "trunk_background": 4,
    "fusion_from_block": 2,
    "selection": False,
    "decoder_feed_forward": 64,
    "image_size": SIDE,
}


def _write(folder: Path, boxes: list[list[tuple[str, int, int, int, int]]], *, side: int = SIDE) -> SimpleNamespace:
    names = list(COLOURS)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number, objects in enumerate(boxes):
        pixels = np.full((side, side, 3), GROUND, np.uint8)
        for name, x, y, width, height in objects:
            pixels[y : y + height, x : x + width] = COLOURS[name]
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotations.append({"image_id": number, "category_id": names.index(name), "segmentation": [outline]})
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": side, "height": side})
    categories = [{"id": number, "name": name.replace(" ", "_")} for number, name in enumerate(names)]
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return SimpleNamespace(annotations=file, images=folder / "images", validation=folder / "triplets")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PhraseTokenizer:
    """Knows the words of generated phrases."""
    return train_tokenizer(
        corpus(np.random.default_rng(0), 400), tmp_path_factory.mktemp("tokenizer"), 299, max_length=32
    )


@pytest.fixture(scope="session")
def ground() -> tuple[int, int, int]:
    """The colour of the ground."""
    return GROUND


@pytest.fixture(scope="session")
def colours() -> dict[str, tuple[int, int, int]]:
    """The categories, in their order, and the colour that their objects are filled with."""
    return COLOURS


@pytest.fixture(scope="session")
def tiny_model() -> dict[str, Any]:
    """The changes that make the built-in model's configuration tiny."""
    return TINY_MODEL


@pytest.fixture(scope="session")
def tiny_config(tiny_model: dict[str, Any]) -> Callable[..., RS2Sam2Config]:
    """Makes the configuration of the tiny model, with these changes."""
    return lambda **changes: RS2Sam2Config(**{**RS2Sam2Config.built_in().to_dict(), **tiny_model, **changes})


@pytest.fixture(scope="session")
def write_data_set() -> Callable[..., SimpleNamespace]:
    """Writes one image for each list of (category, x, y, width, height) to a folder; says where its parts lie."""
    return _write


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Six images with one to three objects, and phrases to validate on. Corners are multiples of 8 pixels."""
    made = _write(
        tmp_path_factory.mktemp("data"),
        [
            [("ship", 8, 8, 16, 8)],
            [("storage tank", 40, 32, 16, 16)],
            [("ship", 0, 40, 24, 16), ("storage tank", 40, 8, 16, 16)],
            [("ship", 32, 8, 24, 8), ("ship", 8, 40, 16, 16)],
            [("storage tank", 8, 8, 8, 8), ("storage tank", 40, 40, 16, 16), ("ship", 8, 40, 16, 8)],
            [("storage tank", 24, 24, 24, 24)],
        ],
    )
    options = GenerateOptions(per_image=2, absent_share=0.5)
    generate_triplets(read_coco(made.annotations), made.images, made.validation, options=options)
    return made


@pytest.fixture(scope="session")
def make_recipe(data_set: SimpleNamespace, tiny_model: dict[str, Any]) -> Callable[..., Recipe]:
    """Makes a recipe of a few quick steps, with these changes to its fields."""

    def make(
        *,
        data: SimpleNamespace = data_set,
        model: dict[str, Any] | None = None,
        never_absent: Sequence[str] = (),
        rare: float = 0.0,
        **changes: Any,
    ) -> Recipe:
        defaults: dict[str, Any] = {
            "name": "tiny",
            "model": {**tiny_model, **(model or {})},
            "tokenizer_sentences": 400,
            "data": {
                "annotations": data.annotations,
                "images": data.images,
                "validation": data.validation,
                "never_absent": list(never_absent),
                "rare": rare,
            },
            "stages": [
                {"steps": 3, "image_size": 32, "batch_size": 2},
                {"steps": 3, "image_size": 64, "batch_size": 2},
            ],
            "optimizer": {"learning_rate": 2e-3, "warm_up": 2},
            "validate_every": 3,
            "validation_samples": 4,
        }
        return Recipe.model_validate({**defaults, **changes})

    return make


@pytest.fixture(scope="session")
def write_triplets() -> Callable[..., Path]:
    """Writes samples (split, phrase, (category, x, y, width, height) or None) to a `triplets` folder.

    Each has an image of its own, with a rectangle of its category's colour; without one, the phrase names nothing.
    """

    def write(
        folder: Path, samples: Sequence[tuple[str, str, tuple[str, int, int, int, int] | None]], *, side: int = SIDE
    ) -> Path:
        folder.mkdir(parents=True)
        items = []
        for number, (split, phrase, target) in enumerate(samples):
            pixels, mask = np.full((side, side, 3), GROUND, np.uint8), np.zeros((side, side), np.uint8)
            item = {"id": f"s{number}", "image": f"{number}.png", "mask": None, "sentence": phrase, "split": split}
            if target is not None:
                category, x, y, width, height = target
                pixels[y : y + height, x : x + width] = COLOURS[category]
                mask[y : y + height, x : x + width] = 255
                Image.fromarray(mask).save(folder / f"{number}.mask.png")
                item |= {"mask": f"{number}.mask.png", "category": category}
            Image.fromarray(pixels).save(folder / f"{number}.png")
            items.append(item)
        (folder / "refs.json").write_text(json.dumps(items))
        return folder

    return write


@pytest.fixture(scope="session")
def triplets(write_triplets: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples to train on and two to measure; one of either names nothing."""
    return write_triplets(
        tmp_path_factory.mktemp("samples") / "triplets",
        [
            ("train", "the ship on the left", ("ship", 0, 16, 16, 24)),
            ("train", "the ship on the right", ("ship", 48, 16, 16, 24)),
            ("train", "the tank at the top", ("storage tank", 24, 0, 16, 16)),
            ("train", "the tank at the bottom", ("storage tank", 24, 48, 16, 16)),
            ("train", "a large tank", ("storage tank", 8, 8, 48, 48)),
            ("train", "the ship that is not there", None),
            ("val", "a ship", ("ship", 16, 16, 24, 24)),
            ("val", "an airplane", None),
        ],
    )


@pytest.fixture(scope="session")
def make_sample_recipe(triplets: Path, tiny_model: dict[str, Any]) -> Callable[..., Recipe]:
    """Makes a recipe of two epochs of three steps on the triplets, with these changes to its fields."""

    def make(*, data: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        defaults: dict[str, Any] = {
            "name": "tiny-samples",
            "model": tiny_model,
            "tokenizer_sentences": 400,
            "data": {"train": f"triplets:{triplets}", **(data or {})},
            "stages": [{"epochs": 2, "image_size": 32, "batch_size": 2}],
            "optimizer": {"learning_rate": 2e-3, "warm_up": 2},
            "validate_every": {"epochs": 1},
        }
        return Recipe.model_validate({**defaults, **changes})

    return make


@pytest.fixture(scope="module")  # within the module's one thread
def original(make_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps that saved its state after three."""
    from refersat.training.loop import train  # slow to import, and few tests need it

    out = tmp_path_factory.mktemp("runs") / "whole"
    train(make_recipe(), out)
    return out


@pytest.fixture
def uninterrupted(original: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a run of six steps that saved its state after three."""
    return shutil.copytree(original, tmp_path / "whole")


@pytest.fixture(scope="module", autouse=True)
def _one_thread_on_the_cpu() -> Iterator[None]:
    """Results are then the same to the last bit, and tests that run side by side do not fight for cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        yield
    torch.set_num_threads(threads)
