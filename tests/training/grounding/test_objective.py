"""What a grounder's training minimises: it teaches a grounder, and parts of a batch make up the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from refersat.models.grounding.boxes import overlaps, to_corners
from refersat.models.grounding.losses import Weights
from refersat.models.grounding.model import GroundingModel
from refersat.training.batch import View
from refersat.training.grounding.batch import GroundingBatch, collate
from refersat.training.grounding.objective import GroundingTrainee
from refersat.training.objective import Totals
from refersat.training.recipe import LossOptions
from tests.models.tiny_grounder import tiny_grounder_config

RED, BLUE = (230, 30, 30), (30, 30, 230)
WORDS = {"red": [0, 10, 2], "blue": [0, 20, 2], "green": [0, 30, 2]}
SIDE = 64


def tokenizer(phrases: Any) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([WORDS[phrase] for phrase in phrases], dtype=torch.long).reshape(-1, 3)
    return ids, torch.ones_like(ids, dtype=torch.bool)


def view(red: tuple[int, int, int, int], blue: tuple[int, int, int, int], *, height: int = SIDE) -> View:
    """A drawn view with two boxes, and what is said of it; nothing is green."""
    pixels = np.full((height, SIDE, 3), 90, np.uint8)
    labels = np.zeros((SIDE // 4, SIDE // 4), np.int64)
    for label, (colour, (x0, y0, x1, y1)) in enumerate(((RED, red), (BLUE, blue)), start=1):
        pixels[y0:y1, x0:x1] = colour
        labels[y0 // 4 : y1 // 4, x0 // 4 : x1 // 4] = label
    shares = [(x0 / SIDE, y0 / height, x1 / SIDE, y1 / height) for x0, y0, x1, y1 in (red, blue)]
    return View(
        name="drawn",
        pixels=pixels,
        phrases=["red", "blue", "green"],
        targets=np.zeros((3, SIDE, SIDE), bool),
        present=[True, True, False],
        boxes=[*shares, None],
        named=[0, 1, 2],
        labels=labels,
        label_weights=np.ones(labels.shape, np.float32),
    )


def views() -> list[View]:
    return [view((8, 8, 32, 24), (40, 32, 56, 60)), view((36, 12, 60, 36), (4, 36, 28, 56))]


@pytest.fixture
def batch() -> GroundingBatch:
    return collate(views(), tokenizer, tiny_grounder_config())


@pytest.fixture
def make_trainee() -> Callable[..., GroundingTrainee]:
    def make(kinds: int | None = 3, **weights: float) -> GroundingTrainee:
        torch.manual_seed(3)  # from others, queries may take longer to leave the place that each begins at
        config = tiny_grounder_config(dropout=0.0, vocab_size=300, max_text_length=64)
        return GroundingTrainee(GroundingModel(config), kinds, LossOptions(**weights), Weights())

    return make


def test_two_images_are_learned(make_trainee: Callable[..., GroundingTrainee], batch: GroundingBatch) -> None:
    """Each phrase finds its own box in each image, and what is nowhere scores low."""
    trainee = make_trainee()
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=4e-3)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (STEPS - step) / (0.4 * STEPS)))
    losses = []
    for _ in range(STEPS):
        loss, terms, _ = trainee(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimizer.step()
        rates.step()
        losses.append({name: value.item() for name, value in {"loss": loss, **terms}.items()})
    for name in losses[0]:
        assert np.mean([each[name] for each in losses[-5:]]) < 0.6 * losses[0][name], name
    trainee.eval()
    with torch.inference_mode():
        found = trainee.model(batch.pixel_values, batch.valid, batch.input_ids, batch.attention_mask)
    iou, _ = overlaps(found.boxes, to_corners(batch.boxes[:, 0]))
    there = batch.present > 0
    assert iou[there].amin() > 0.5
    assert found.scores[there].amin() > found.scores[~there].amax()


STEPS = 70


def test_views_become_a_batch(batch: GroundingBatch) -> None:
    assert batch.pixel_values.shape == (2, 3, SIDE, SIDE)
    assert batch.present.tolist() == [1, 1, 0] * 2
    torch.testing.assert_close(batch.boxes[0, 0], torch.tensor([20 / 64, 16 / 64, 24 / 64, 16 / 64]))
    assert batch.told()[4] == "drawn: blue"
    flat = collate([view((8, 8, 32, 24), (40, 8, 56, 28), height=32)], tokenizer, tiny_grounder_config())
    assert flat.valid.tolist() == [[1.0, 0.5]]
    torch.testing.assert_close(flat.boxes[0, 0], torch.tensor([20 / 64, 16 / 32, 24 / 64, 16 / 32]))
    assert (flat.labels[0, :8].unique().tolist(), flat.label_weights[0, 8:].sum().item()) == ([0, 1, 2], 0)
    assert flat.label_weights[0, :8].sum() == 8 * 16


def test_what_fills_the_letterbox_up_does_not_blow_gradients_up(
    make_trainee: Callable[..., GroundingTrainee],
) -> None:
    trainee = make_trainee()
    flat = collate([view((8, 8, 32, 24), (40, 8, 56, 28), height=32)], tokenizer, tiny_grounder_config())
    loss, _, _ = trainee(flat)
    loss.backward()
    assert torch.nn.utils.get_total_norm([each.grad for each in trainee.parameters()]) < 1e3


def test_parts_of_a_batch_add_up_to_the_whole(
    make_trainee: Callable[..., GroundingTrainee], batch: GroundingBatch
) -> None:
    trainee = make_trainee().eval()
    whole, terms, own = trainee(batch)
    parts = []
    for image, phrases in ((slice(0, 1), slice(0, 3)), (slice(1, 2), slice(3, 6))):
        by_image = {name: getattr(batch, name)[image] for name in ("pixel_values", "valid", "labels", "label_weights")}
        rest = ("input_ids", "attention_mask", "boxes", "there", "present", "named")
        parts.append(replace(batch, **by_image, **{name: getattr(batch, name)[phrases] for name in rest}))
    made = [trainee(part, Totals.of(parts)) for part in parts]
    torch.testing.assert_close(sum(loss for loss, _, _ in made), whole)
    for name, term in terms.items():
        torch.testing.assert_close(sum(each[name] for _, each, _ in made), term)
    for name, values in own.items():
        torch.testing.assert_close(torch.cat([each[name] for _, _, each in made]), values)


def test_the_loss_is_the_weighted_sum_of_its_terms(
    make_trainee: Callable[..., GroundingTrainee], batch: GroundingBatch
) -> None:
    loss, terms, own = make_trainee(categories=0.5, named=0.25).eval()(batch)
    weights = {"focal": 2, "box": 5, "giou": 2, "categories": 0.5, "named": 0.25}
    torch.testing.assert_close(loss.detach(), sum(weights[name] * term for name, term in terms.items()))
    assert set(terms) == set(weights)
    assert set(own) == {"focal", "box", "giou"}
    there = batch.present > 0
    torch.testing.assert_close(terms["focal"], own["focal"].mean())
    torch.testing.assert_close(terms["box"], own["box"][there].mean())
    assert (own["box"][~there] == 0).all()


def test_phrases_that_name_nothing_alone_reach_the_same_parameters(
    make_trainee: Callable[..., GroundingTrainee], batch: GroundingBatch
) -> None:
    reached = []
    for each in (batch, replace(batch, present=torch.zeros_like(batch.present), there=torch.zeros_like(batch.there))):
        trainee = make_trainee(kinds=None)
        loss, _, _ = trainee(replace(each, labels=None, label_weights=None, named=None))
        loss.backward()
        assert torch.isfinite(loss)
        reached.append({name for name, parameter in trainee.named_parameters() if parameter.grad is not None})
    assert reached[0] == reached[1] == {name for name, _ in trainee.named_parameters()}


def test_without_phrases_the_image_network_learns(
    make_trainee: Callable[..., GroundingTrainee], batch: GroundingBatch
) -> None:
    trainee = make_trainee()
    empty = torch.zeros(0)
    silent = replace(
        batch,
        input_ids=empty[:, None].long(),
        attention_mask=empty[:, None].bool(),
        boxes=empty[:, None],
        there=empty[:, None].bool(),
        present=empty,
        named=empty.long(),
        phrases=(),
    )
    loss, terms, own = trainee(silent)
    loss.backward()
    assert (set(terms), own) == ({"categories"}, {})
    learning = {name.split(".")[1] for name, each in trainee.named_parameters() if each.grad is not None}
    assert "image_network" in learning
    assert "transformer" not in learning
