"""What would a plain network reach with the same images, phrases and time?

    python benchmarks/control.py nwpu-vhr10 --data triplets:runs/val --minutes 35 --out runs/control.json

A U-Net at 256 pixels that hears the phrase by a GRU, whose last state scales and shifts its features (FiLM, Perez et
al., AAAI 2018), trained by cross-entropy and dice: what one would write in an afternoon. Views and phrases are those of
the built-in model's recipe; a phrase that names nothing has an empty mask for a target, and the largest probability is
the score. Prints what `refersat evaluate` measures, by kind of phrase and size of target, beside the built-in model's
card. NWPU VHR-10 as docs/how-to/train-built-in.md has it, and the validation phrases made there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from card_rows import card_rows
from numpy.typing import NDArray
from torch import Tensor, nn
from trunk_shapes import conv_pair

from refersat.data.coco import read_coco
from refersat.data.triplets import read_triplets
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.report import metrics_of
from refersat.evaluation.run import evaluate_samples
from refersat.models import zoo
from refersat.models.answering import Answer
from refersat.models.hiera import per_phrase
from refersat.models.preprocess import square_view
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.models.torch_backend import TorchBackend
from refersat.segmenter import Segmenter
from refersat.text.corpus import corpus
from refersat.text.tokenizer import PhraseTokenizer, train_tokenizer
from refersat.training.batch import Batch
from refersat.training.generated import PhraseSampler
from refersat.training.recipe_files import load_recipe
from refersat.training.schedule import Schedule

SIDE = 256
WIDTHS = (32, 64, 128, 256, 384)
WORDS = 128
LEARNING_RATE = 2e-3
WARM_UP = 50
COOL_DOWN = 0.4
"""Share of the time in which the rate falls to nothing."""

LONGEST = 32


class Control(nn.Module):
    """Images (N, 3, S, S) and phrases (B, L), B/N in a row about each -> mask logits (B, 1, S/2, S/2)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WORDS)
        self.reader = nn.GRU(WORDS, WORDS, batch_first=True, bidirectional=True)
        self.down = nn.ModuleList(conv_pair(a, b) for a, b in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.up = nn.ModuleList(conv_pair(a + b, b) for a, b in zip(WIDTHS[:0:-1], WIDTHS[-2:0:-1], strict=False))
        self.films = nn.ModuleList(nn.Linear(2 * WORDS, 2 * width) for width in WIDTHS[:0:-1])
        self.mask = nn.Conv2d(WIDTHS[1], 1, kernel_size=1)

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See the class."""
        phrases = len(input_ids)
        lengths = attention_mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.words(input_ids), lengths, batch_first=True, enforce_sorted=False
        )
        heard = self.reader(packed)[1].transpose(0, 1).flatten(1)
        levels = []
        features = pixel_values
        for index, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if index else features)
            levels.append(features)
        features = _film(per_phrase(features, phrases), self.films[0](heard))
        for block, film, skip in zip(self.up, self.films[1:], levels[-2:0:-1], strict=True):
            joined = torch.cat([F.interpolate(features, scale_factor=2.0), per_phrase(skip, phrases)], dim=1)
            features = _film(block(joined), film(heard))
        return cast(Tensor, self.mask(features))


def _film(features: Tensor, change: Tensor) -> Tensor:
    scale, shift = change[..., None, None].chunk(2, dim=1)
    return F.relu(features * (1 + scale) + shift)


class ControlAnswerer:
    """A trained control as an `Answerer`."""

    dtype = torch.float32
    mask_threshold = 0.0
    phrases_at_once = 8
    images_at_once = 1

    def __init__(self, network: Control, tokenizer: PhraseTokenizer) -> None:
        self.network = network.eval()
        self._tokenizer = tokenizer

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """See `Answerer.answer`."""
        return [
            Answer(logits, present=True, score=float(logits.max().sigmoid()))
            for image, asked in zip(images, phrases, strict=True)
            for logits in self.network(square_view(image, SIDE, antialias=True), *self._tokenizer(asked)).float()
        ]


def learn(
    network: Control, batch_of: Callable[[int], Batch], seconds: float, *, precision: torch.autocast
) -> tuple[int, float]:
    """Train until the time is over; how many steps that were, and the mean loss of the last hundred."""
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    losses: list[float] = []
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        batch = batch_of(len(losses))
        falling = (seconds - spent) / (COOL_DOWN * seconds)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (len(losses) + 1) / WARM_UP, falling)
        with precision:
            logits = network(batch.pixel_values, batch.input_ids, batch.attention_mask).float()
        target = F.adaptive_avg_pool2d(batch.target, logits.shape[-2:])
        loss = F.binary_cross_entropy_with_logits(logits, target) + _overlap_loss(logits, target, batch.present)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return len(losses), float(np.mean(losses[-100:]))


def _overlap_loss(logits: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Dice of the phrases that name something."""
    probability = logits.sigmoid()
    shared = 2 * (probability * target).sum((1, 2, 3)) + 1
    either = (probability + target).sum((1, 2, 3)) + 1
    return ((1 - shared / either) * present).sum() / present.sum().clamp(min=1)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder with images/ and train.json")
    parser.add_argument("--data", required=True, help="validation data, triplets:FOLDER")
    parser.add_argument("--minutes", type=float, default=35.0, help="of training, making the views included")
    parser.add_argument("--views", type=int, default=8, help="of a step")
    parser.add_argument("--phrases", type=int, default=4, help="about each view")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--float32", action="store_true", help="for processors that are slow in bfloat16")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    recipe = load_recipe(
        "built-in",
        [
            f"data.annotations={arguments.images / 'train.json'}",
            f"data.images={arguments.images / 'images'}",
            f"stages=[{{steps: 1000000, image_size: {SIDE}, batch_size: {arguments.views}, "
            f"phrases_per_view: {arguments.phrases}}}]",
        ],
    )
    schedule, source = Schedule.of(recipe, None), read_coco(arguments.images / "train.json")
    samples = read_triplets(arguments.data.removeprefix("triplets:")).samples
    with tempfile.TemporaryDirectory() as folder:
        sentences = corpus(np.random.default_rng(0), 20_000)
        tokenizer = train_tokenizer(sentences, Path(folder), 499, max_length=LONGEST)
        sampler = PhraseSampler(recipe, source, tokenizer, RS2Sam2Config.built_in())
        network = Control(tokenizer.vocab_size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps, loss = learn(
            network,
            lambda step: cast(Batch, sampler.batches(step, schedule, [range(arguments.views)])[0]),
            60 * arguments.minutes,
            precision=torch.autocast("cpu", torch.bfloat16, enabled=not arguments.float32),
        )
        answerer = ControlAnswerer(network, tokenizer)
        segmenter = Segmenter(TorchBackend(answerer, device=torch.device("cpu")), name="control")
        metrics = metrics_of(evaluate_samples(segmenter, samples, protocols=[PROTOCOLS["native"]]))
    print(
        f"{answerer.parameters / 1e6:.1f} M parameters, {steps} steps in {arguments.minutes:g} minutes, loss {loss:.3f}"
    )
    measured = card_rows(metrics)
    card = zoo.card(zoo.BUILT_IN).measured
    ours = next(iter(card.values())) if card else {}
    print(f"{'':45} control  built-in")
    for name, value in measured.items():
        print(f"{name:45} {value:7.1f}  {ours.get(name, float('nan')):8.1f}")
    if arguments.out is not None:
        arguments.out.write_text(
            json.dumps({"steps": steps, "minutes": arguments.minutes, **measured}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
