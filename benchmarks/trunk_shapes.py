"""How well do trunks of different shapes learn what things look like, in the same time and on the same views?

    python benchmarks/trunk_shapes.py nwpu-vhr10 --minutes 6 --out runs/trunks.json

A phrase cannot be answered better than the trunk sees, and this is measured in minutes: each shape is trained without
phrases, as in the first stage of the built-in recipe, then measured on the images of val.json by the IoU of every
category. `unet` is a plain convolutional network as a control. NWPU VHR-10 as docs/how-to/train-built-in.md has it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from refersat.data import shapes
from refersat.data.coco import CocoFile, CocoImage, read_coco
from refersat.models.hiera import ImageState
from refersat.models.preprocess import preprocess
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.corpus import corpus
from refersat.text.tokenizer import train_tokenizer
from refersat.training.generated import PhraseSampler
from refersat.training.heads import CategoryHead
from refersat.training.muon import Muon
from refersat.training.parameters import parameter_groups
from refersat.training.recipe_files import load_recipe
from refersat.training.schedule import Schedule

SHAPES: dict[str, dict[str, Any]] = {
    "built-in": {},
    "convolutions in every stage": {"trunk_convolutions": [1, 2, 2, 0]},
    "more convolutions than attention": {
        "trunk_depths": [1, 1, 3, 1],
        "trunk_convolutions": [2, 3, 3, 0],
        "trunk_global_blocks": [3, 4, 5],
        "fusion_from_block": 4,
    },
    "wider where it is fine": {"trunk_widths": [96, 160, 192, 320], "trunk_heads": [2, 2, 3, 5]},
    "wider candidates": {"candidate_width": 128},
}
SHARE_OF_COOL_DOWN = 0.3
WARM_UP = 30


class UNet(nn.Module):
    """Four halvings and back up to stride 4, with batch norms: what many would begin with."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256, 384)) -> None:
        super().__init__()
        self.width = widths[2]
        self.down = nn.ModuleList(conv_pair(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(conv_pair(a + b, b) for a, b in ((widths[4], widths[3]), (widths[3], widths[2])))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, S/4, S/4, C)."""
        levels = []
        features = pixel_values
        for index, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if index else features)
            levels.append(features)
        for block, skip in zip(self.up, (levels[3], levels[2]), strict=True):
            features = block(torch.cat([F.interpolate(features, scale_factor=2.0), skip], dim=1))
        return features.permute(0, 2, 3, 1)


def conv_pair(before: int, after: int) -> nn.Sequential:
    """Two convolutions with norms and ReLU, from a width to another."""
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class Trunk(nn.Module):
    """What the model makes of an image before it hears a phrase."""

    def __init__(self, config: RS2Sam2Config) -> None:
        super().__init__()
        config._attn_implementation = "eager"
        model = RS2Sam2Model(config)
        assert model.candidates is not None
        self.trunk, self.finder = model.trunk, model.candidates
        self.width = self.finder.width

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, S/4, S/4, C)."""
        state: ImageState = self.trunk.look(pixel_values)
        return self.finder.survey(state).features.permute(0, 2, 3, 1)


def learn(network: nn.Module, head: CategoryHead, sampler: PhraseSampler, schedule: Schedule, seconds: float) -> int:
    """Train until the time is over, with a constant rate that falls to nothing at the end; how many steps that were."""
    both = nn.ModuleDict({"network": network, "head": head}).train()
    optimizer = Muon(parameter_groups(both, 0.05), dtype=torch.bfloat16)
    views = range(schedule.stages[0].batch_size)
    spent, step = 0.0, 0
    while spent < seconds:
        (batch,) = sampler.batches(step, schedule, [views])
        began = time.perf_counter()
        for group in optimizer.param_groups:
            falling = (seconds - spent) / (SHARE_OF_COOL_DOWN * seconds)
            group["lr"] = schedule.optimizer.learning_rate * min(1.0, (step + 1) / WARM_UP, falling)
        with torch.autocast("cpu", torch.bfloat16):
            logits = head((network(batch.pixel_values),)).float()
        assert batch.labels is not None
        assert batch.label_weights is not None
        losses = batch.label_weights * F.cross_entropy(logits, batch.labels, reduction="none")
        (losses.sum() / batch.label_weights.sum()).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        spent += time.perf_counter() - began  # making the views costs the same for all, and is not counted
    return step


@torch.no_grad()
def measure(
    answer: Callable[[Tensor], Tensor], source: CocoFile, images: Path, categories: Sequence[str], side: int
) -> dict[str, float]:
    """IoU of each category over all images, in percent, and their mean."""
    shared, either = np.zeros(len(categories)), np.zeros(len(categories))
    config = RS2Sam2Config.built_in()
    config.image_size = side
    for scene in source.images:
        pixels = np.array(Image.open(images / scene.file_name).convert("RGB"))
        logits = answer(preprocess([pixels], config)[0])
        told = F.interpolate(logits, size=pixels.shape[:2], mode="bilinear").argmax(1)[0].numpy()
        truth = _truth(scene, categories)
        for index in range(len(categories)):
            is_told, is_true = told == index + 1, truth == index + 1
            shared[index] += np.count_nonzero(is_told & is_true)
            either[index] += np.count_nonzero(is_told | is_true)
    scores = {name: 100 * shared[k] / max(1.0, either[k]) for k, name in enumerate(categories)}
    return {"mean": float(np.mean(list(scores.values()))), **scores}


def _truth(scene: CocoImage, categories: Sequence[str]) -> NDArray[np.int64]:
    truth = np.zeros((scene.height, scene.width), np.int64)
    for item, shape in sorted(zip(scene.objects, scene.shapes, strict=True), key=lambda pair: -pair[0].area):
        truth[shapes.rasterise([shape], scene.width, scene.height)] = 1 + categories.index(item.category)
    return truth


def main() -> None:
    """Train and measure each shape; a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with images/, train.json and val.json")
    parser.add_argument("--minutes", type=float, default=6.0, help="of training for each shape")
    parser.add_argument("--shape", action="append", choices=[*SHAPES, "unet"], help="only these")
    parser.add_argument("--size", type=int, default=256, help="side of the training views in pixels")
    parser.add_argument("--views", type=int, default=8, help="of a step")
    parser.add_argument("--test-size", type=int, default=448, help="side of the images when measuring")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    changes = [
        f"data.annotations={arguments.data / 'train.json'}",
        f"data.images={arguments.data / 'images'}",
        f"stages=[{{steps: 1000000, image_size: {arguments.size}, batch_size: {arguments.views}, phrases_per_view: 0}},"
        " {steps: 1, image_size: 32, batch_size: 1}]",
    ]
    recipe = load_recipe("built-in", changes)
    schedule, source = Schedule.of(recipe, None), read_coco(arguments.data / "train.json")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        sentences = corpus(np.random.default_rng(0), 400)
        tokenizer = train_tokenizer(sentences, Path(folder), 299, max_length=32)
        for name in arguments.shape or [*SHAPES, "unet"]:
            torch.manual_seed(0)
            config = RS2Sam2Config(**{**RS2Sam2Config.built_in().to_dict(), **SHAPES.get(name, {})})
            network: Any = UNet() if name == "unet" else Trunk(config)
            head = CategoryHead([network.width], len(source.categories))
            sampler = PhraseSampler(recipe, source, tokenizer, config)
            steps = learn(network, head, sampler, schedule, 60 * arguments.minutes)
            network.eval()
            scores = measure(
                lambda pixels, network=network, head=head: head((network(pixels),)),
                read_coco(arguments.data / "val.json"),
                arguments.data / "images",
                source.categories,
                arguments.test_size,
            )
            parameters = sum(parameter.numel() for parameter in network.parameters())
            results[name] = {"steps": steps, "parameters": parameters, **scores}
            told = " ".join(f"{category} {score:.0f}" for category, score in scores.items())
            print(f"{name}: {steps} steps, {parameters / 1e6:.1f} M parameters; {told}", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
