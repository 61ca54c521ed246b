"""Where no object seems to be meant, and only there, one more view decides."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from refersat.models.configuration import RS2Sam2Config
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.rs2sam2_output import RS2Sam2Output
from refersat.models.selection import Selection
from refersat.models.sightings import Objects
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, IDS, MASK, TINY, make_model, views

SIDE = 128  # px: the views are 128, 64 and 32


def ask(model: RS2Sam2Model, certainties: list[float], *, again: float | None = None) -> RS2Sam2Output:
    """Phrases about one image each; the likeliest object of each is so likely, in three views all are `again`."""

    def as_certain(selection: Selection) -> Tensor:
        likeliest = torch.tensor(certainties)
        if again is not None and len(selection.sightings.views) == 3:
            likeliest = torch.full_like(likeliest, again)
        return selection.logits - selection.logits.amax(1, keepdim=True) + likeliest[:, None]

    with torch.no_grad():
        output: RS2Sam2Output = model(*views(size=SIDE), IDS, MASK, choice=as_certain)
    return output


@pytest.fixture
def kinds() -> Callable[..., RS2Sam2Model]:
    return lambda **changes: make_model(**CONFIGURATIONS["two views, refined"] | changes)


def test_who_is_sure_looks_once(kinds: Callable[..., RS2Sam2Model]) -> None:
    model = kinds(second_look=True)
    with patch.object(model, "see", wraps=model.see) as see:
        output = ask(model, [0.6, 1, 3])
    assert [call.args[0].shape[-1] for call in see.call_args_list] == [128, 64]
    torch.testing.assert_close(output.logits, ask(kinds(), [0.6, 1, 3]).logits, rtol=0, atol=0)


def test_who_is_unsure_looks_again(kinds: Callable[..., RS2Sam2Model]) -> None:
    certainties = [2.0, 0.4, -3.0]
    model = kinds(second_look=True)
    with patch.object(model, "see", wraps=model.see) as see:
        output = ask(model, certainties, again=-0.9)
    assert [call.args[0].shape[-1] for call in see.call_args_list] == [128, 64, 32]
    once, always = ask(kinds(), certainties), ask(kinds(glance=0.25), certainties, again=-0.9)
    assert output.logits is not None
    assert once.logits is not None
    assert always.logits is not None
    torch.testing.assert_close(output.logits[0], once.logits[0])
    torch.testing.assert_close(output.logits[1:], always.logits[1:])
    assert not torch.allclose(once.logits[1:], always.logits[1:])


def test_nobody_else_is_looked_at_again(kinds: Callable[..., RS2Sam2Model]) -> None:
    certainties = [0.4, 2.0, -3.0]
    model = kinds(second_look=True)
    assert model.selector is not None
    choose = model.selector.choose
    looks = 0

    def as_certain(objects: Objects, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        nonlocal looks
        looks += 1
        asked = [(ids == IDS).all(1).nonzero()[0].item() for ids in input_ids]
        assert asked == ([0, 1, 2] if looks == 1 else [0, 2])
        likeliest = torch.tensor(certainties)[asked] if looks == 1 else torch.full((2,), -0.9)
        logits = choose(objects, input_ids, attention_mask)
        return logits - logits.amax(1, keepdim=True) + likeliest[:, None]

    with (
        patch.object(model.selector, "choose", as_certain),
        patch.object(model, "see", wraps=model.see) as see,
        torch.no_grad(),
    ):
        output = model(*views(size=SIDE), IDS, MASK)
    assert [call.args[0].shape[0] for call in see.call_args_list] == [3, 3, 2]
    everyone = ask(model, certainties, again=-0.9)
    torch.testing.assert_close(output.logits, everyone.logits, rtol=1e-4, atol=1e-5)


def test_a_guess_is_no_better(kinds: Callable[..., RS2Sam2Model]) -> None:
    certainties = [0.4, -1.5, -3.0]
    output, once = ask(kinds(second_look=True), certainties, again=-1.1), ask(kinds(), certainties)
    torch.testing.assert_close(output.logits, once.logits, rtol=0, atol=0)


def test_the_score_is_that_of_the_first_look(kinds: Callable[..., RS2Sam2Model]) -> None:
    certainties = [2.0, -0.5, -3.0]
    output, once = ask(kinds(second_look=True), certainties), ask(kinds(), certainties)
    torch.testing.assert_close(output.presence_logits, once.presence_logits, rtol=0, atol=0)
    assert output.selection is not None
    assert once.selection is not None
    torch.testing.assert_close(output.selection.logits, once.selection.logits, rtol=0, atol=0)


@pytest.mark.parametrize(("glance", "expected"), [(0.0, 0.5), (0.5, 0.25), (0.25, 0.125)])
def test_it_is_half_as_large_as_the_coarsest_view(glance: float, expected: float) -> None:
    config = RS2Sam2Config(**TINY | CONFIGURATIONS["two views"] | {"glance": glance, "second_look": True})
    assert config.second_glance == expected


def test_it_needs_a_selection() -> None:
    with pytest.raises(ValueError, match="second_look needs selection"):
        RS2Sam2Config(**TINY | {"second_look": True})
