"""The loss: what counts where."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.candidates import Candidates, Survey
from refersat.models.rs2sam2_output import RS2Sam2Output
from refersat.training.batch import Batch
from refersat.training.objective import Trainee
from refersat.training.recipe import LossOptions
from tests.training.batches import CATEGORIES, SIDE, WEIGHTS, make_batch


class Answers(nn.Module):
    """A model that answers with what it is given."""

    def __init__(self, batch: Batch, **changes: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=CATEGORIES + 1)
        self.trunk = SimpleNamespace(image_map_widths=[CATEGORIES + 1] * 2)
        found = changes.get("candidates")
        self.candidates = None if found is None else SimpleNamespace(width=CATEGORIES + 1)
        size = len(batch.present)
        one_hot = F.one_hot(batch.labels, CATEGORIES + 1).float()
        answers: dict[str, Any] = {
            "decoded_logits": 20 * (2 * batch.target - 1),
            "object_score_logits": 20 * (2 * batch.present - 1),
            "text_weight": torch.zeros(size),
            "prompt_token": F.one_hot(batch.named, CATEGORIES + 1).float(),
            "pseudo_mask_logits": 20 * (2 * F.adaptive_max_pool2d(batch.target, 2) - 1),
            "image_embedding": F.avg_pool2d(batch.target, 8).repeat(1, CATEGORIES + 1, 1, 1),
            "image_maps": (one_hot, one_hot[:, ::2, ::2]),
        }
        self.output = RS2Sam2Output(**{**answers, **changes})

    def forward(self, *inputs: Tensor, decoded_alone: bool) -> RS2Sam2Output:
        assert decoded_alone
        return self.output


def found_in(batch: Batch) -> Candidates:
    """What a perfect candidate finder says."""
    one_hot = F.one_hot(batch.labels, CATEGORIES + 1).float().permute(0, 3, 1, 2)
    kind = batch.labels[:, None] == 1 + batch.named.view(-1, 1, 1, 1)
    nothing = torch.zeros(1)
    return Candidates(Survey(one_hot, batch.edges), 40 * kind.float() - 20, nothing, nothing, nothing)


def terms_of(batch: Batch, **changes: Any) -> dict[str, float]:
    torch.manual_seed(0)
    trainee = Trainee(Answers(batch, **changes), CATEGORIES, LossOptions(candidate_dice=1.0))  # type: ignore[arg-type]
    with torch.no_grad():
        for level, scale in zip(trainee.category_head.levels, (20.0, 0.0), strict=False):
            level[1].weight.copy_(scale * torch.eye(CATEGORIES + 1))
            level[1].bias.zero_()
        trainee.coarse_head.weight.fill_(40 / (CATEGORIES + 1))
        trainee.coarse_head.bias.fill_(-20)
        trainee.named_head.weight.copy_(20 * torch.eye(CATEGORIES, CATEGORIES + 1))
        trainee.named_head.bias.zero_()
    return {name: term.item() for name, term in trainee(batch)[1].items()}


def test_a_perfect_answer_costs_nothing() -> None:
    batch = make_batch([1.0, 0.0])
    costs = terms_of(batch, candidates=found_in(batch))
    assert costs == pytest.approx(dict.fromkeys(WEIGHTS, 0.0), abs=1e-5)
    without = [name for name in WEIGHTS if name not in ("candidates", "candidate_dice", "edges")]
    assert terms_of(batch) == pytest.approx(dict.fromkeys(without, 0.0), abs=1e-5)


def test_candidates_that_are_none_and_boxes_that_are_too_large_cost() -> None:
    batch = make_batch([1.0, 0.0])
    right = found_in(batch)
    larger = replace(right.survey, edges=2 * right.survey.edges)
    costs = terms_of(batch, candidates=replace(right, survey=larger, logits=-right.logits))
    assert costs["edges"] == pytest.approx(math.log(4), rel=1e-4)
    assert costs["candidates"] == pytest.approx(20, rel=1e-4)
    assert costs["candidate_dice"] == pytest.approx(1, rel=1e-4)


def test_candidates_are_of_the_named_kind_also_where_another_is_meant() -> None:
    batch = make_batch([1.0, 0.0])  # the second phrase names a kind that is in the view, but not this one
    assert terms_of(batch, candidates=found_in(batch))["candidates"] < 1e-5
    emptied = found_in(batch)
    emptied.logits[1] = -20
    assert terms_of(batch, candidates=emptied)["candidates"] > 1e-2


def test_of_the_ground_no_box_is_asked() -> None:
    batch = make_batch([1.0])
    right = found_in(batch)
    elsewhere = torch.where(batch.labels[:, None] == 0, 7.0, right.survey.edges)
    assert terms_of(batch, candidates=replace(right, survey=replace(right.survey, edges=elsewhere)))["edges"] < 1e-5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cross_entropy", {"decoded_logits": torch.zeros(2, 1, SIDE, SIDE)}),
        ("dice", {"decoded_logits": torch.zeros(2, 1, SIDE, SIDE)}),
        ("boundary", {"decoded_logits": torch.zeros(2, 1, SIDE, SIDE)}),
        ("presence", {"object_score_logits": torch.zeros(2)}),
        ("pseudo_mask", {"pseudo_mask_logits": torch.zeros(2, 1, 2, 2)}),
        ("named", {"prompt_token": torch.zeros(2, CATEGORIES + 1)}),
        ("categories", {"image_maps": tuple(torch.zeros(2, side, side, 3) for side in (16, 8))}),
        ("coarse", {"image_embedding": torch.zeros(2, 3, 8, 8)}),
    ],
)
def test_a_wrong_answer_costs(name: str, changes: dict[str, Any]) -> None:
    assert terms_of(make_batch([1.0, 0.0]), **changes)[name] > 1e-3


def test_where_nothing_is_to_be_found_overlap_and_edges_do_not_count() -> None:
    batch = make_batch([1.0, 0.0])
    logits = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    other = torch.cat([logits[:1], -3 * logits[1:]])
    first, second = terms_of(batch, decoded_logits=logits), terms_of(batch, decoded_logits=other)
    assert (first["dice"], first["boundary"]) == (second["dice"], second["boundary"])
    assert first["cross_entropy"] != second["cross_entropy"]
    alone = terms_of(make_batch([1.0]), decoded_logits=logits[:1])
    assert first["dice"] == pytest.approx(alone["dice"])
    assert first["boundary"] == pytest.approx(alone["boundary"])


def test_a_batch_without_any_target_is_finite() -> None:
    batch = make_batch([0.0, 0.0])
    terms = terms_of(batch, decoded_logits=torch.randn(2, 1, SIDE, SIDE))
    assert (terms["dice"], terms["boundary"]) == (0, 0)
    assert all(torch.isfinite(torch.tensor(list(terms.values()))))


def test_a_model_without_text_scalar_and_mask_prompt_has_no_such_terms() -> None:
    batch = make_batch([1.0])
    terms = terms_of(batch, text_weight=None, pseudo_mask_logits=None, candidates=found_in(batch))
    assert set(WEIGHTS) - set(terms) == {"boundary", "pseudo_mask"}


def test_where_a_label_counts_more_a_mistake_costs_more() -> None:
    batch = make_batch([1.0])
    wrong = torch.zeros(1, SIDE // 4, SIDE // 4, CATEGORIES + 1)
    wrong[..., 1] = 1  # says everywhere what is right in the square alone
    maps = (wrong, wrong[:, ::2, ::2])
    square = torch.where(batch.labels == 1, 1.0, 0.0)
    assert terms_of(replace(batch, label_weights=square), image_maps=maps)["categories"] < 1e-3
    assert terms_of(replace(batch, label_weights=1 - square), image_maps=maps)["categories"] > 1
