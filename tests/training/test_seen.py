"""Views are looked at once: what is kept is what the eye sees, and another run of the same views looks no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from refersat.data.coco import read_coco
from refersat.errors import UserError
from refersat.models.eye import Eye
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training import seen
from refersat.training.generated import PhraseSampler
from refersat.training.recipe import Recipe
from tests.models.tiny_eye import eye_model_config

Looked = tuple[Eye, PhraseSampler]
SIZES = {"count": 3, "image_size": 64}


@pytest.fixture
def looked(
    make_recipe: Callable[..., Recipe], data_set: SimpleNamespace, tokenizer: PhraseTokenizer, tmp_path: Path
) -> Looked:
    torch.manual_seed(0)
    eye = Eye(eye_model_config()).eval()
    sampler = PhraseSampler(make_recipe(), read_coco(data_set.annotations), tokenizer, None)
    seen.look(eye, sampler, tmp_path / "seen", **SIZES, precision=torch.autocast("cpu", enabled=False))
    return eye, sampler


def test_what_is_kept(looked: Looked, tmp_path: Path) -> None:
    eye, sampler = looked
    views = seen.load(eye, sampler, tmp_path / "seen", **SIZES)
    shown = [view for view, _ in sampler.scenes(3)]
    assert [view.scene.objects for view in views.views] == [view.scene.objects for view in shown]
    sight = views.sight([2, 0])
    for row, number in enumerate((2, 0)):
        own = eye(eye.view(shown[number].pixels, 64))
        for kept, sees in zip(sight.maps, own.maps, strict=True):
            torch.testing.assert_close(kept[row], sees[0], atol=2e-3, rtol=2e-3)


def test_the_same_views_are_looked_at_once(looked: Looked, tmp_path: Path) -> None:
    eye, sampler = looked
    told: list[int] = []
    (file,) = (tmp_path / "seen").glob("*/fine.npy")
    os.utime(file, (1, 1))
    again = {"precision": torch.autocast("cpu", enabled=False), "advance": told.append}
    seen.look(eye, sampler, tmp_path / "seen", **SIZES, **again)
    assert not told
    assert file.stat().st_mtime == 1
    with torch.no_grad():
        next(eye.candidates.edge_head.parameters()).add_(1)
    with pytest.raises(UserError, match="is gone or of other views"):
        seen.load(eye, sampler, tmp_path / "seen", **SIZES)
    seen.look(eye, sampler, tmp_path / "seen", **SIZES, **again)
    assert told == [1, 2, 3]
