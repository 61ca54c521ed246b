"""Where a grounder's first weights come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification, RobertaConfig, RobertaForMaskedLM

from refersat.errors import UserError
from refersat.models.grounding.model import GroundingModel
from refersat.text.roberta import RobertaTokenizer
from refersat.training.grounding.start import plan_grounder_start
from refersat.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
WIDTHS = [32, 32, 48, 64]
PAPERS: dict[str, Any] = {
    "image_network": "resnet",
    "image_widths": WIDTHS,
    "text_network": "roberta",
    "text_layers": 1,
    "text_heads": 2,
    "text_feed_forward": 32,
}
MARKS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ResNet in the layout of the released one, its batch norms not at their beginning."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(1)
    model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=WIDTHS, depths=[1, 1, 1, 1]))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "running" in name:
                tensor.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny RoBERTa in the layout of the released one, which knows letters alone."""
    folder = tmp_path_factory.mktemp("roberta")
    words = [*MARKS, *"abcdefghijklmnopqrstuvwxyz", "\u0120"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = RobertaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=514, type_vocab_size=1,
    )  # fmt: skip
    torch.manual_seed(2)
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def papers_recipe(make_grounder_recipe: MakeRecipe, resnet: Path, roberta: Path) -> MakeRecipe:
    """Makes recipes that start from both networks."""

    def make(*, model: dict[str, Any] | None = None, init: dict[str, Any] | None = None) -> Recipe:
        whole = {**PAPERS, "vocab_size": len(MARKS) + 27, **(model or {})}
        start = {"resnet": resnet, "roberta": roberta, **(init or {})}
        return make_grounder_recipe(base="lqvg", model=whole, init=start)

    return make


def test_both_networks_start_as_they_were_saved(papers_recipe: MakeRecipe, resnet: Path, roberta: Path) -> None:
    start = plan_grounder_start(papers_recipe())
    assert isinstance(start.tokenizer, RobertaTokenizer)
    torch.manual_seed(0)
    model = GroundingModel(start.config)  # type: ignore[arg-type]
    start.fill(model)
    model.eval()
    pixels = torch.randn(1, 3, 64, 64)
    ids, mask = start.tokenizer(["the ship", "a Tank"])
    with torch.inference_mode():
        theirs = ResNetForImageClassification.from_pretrained(resnet).resnet.eval()(pixels, output_hidden_states=True)
        for one, other in zip(model.look(pixels), theirs.hidden_states[1:], strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
        text = RobertaForMaskedLM.from_pretrained(roberta).roberta.eval()(ids, attention_mask=mask.long())
        torch.testing.assert_close(model.text_network(ids, mask), text.last_hidden_state, atol=1e-4, rtol=1e-3)
    origins = {name.split(".")[0]: start.origins.get(name) for name, _ in model.named_parameters()}
    assert origins["image_network"] == resnet.name
    assert origins["text_network"] == roberta.name
    assert origins["transformer"] is None


def test_robertas_tokenizer(roberta: Path, tmp_path: Path) -> None:
    tokenizer = RobertaTokenizer(roberta, max_length=6)
    ids, mask = tokenizer(["A b", "abcdefgh"])
    assert ids.tolist() == [[0, 5, 31, 6, 2, 1], [0, 5, 6, 7, 8, 2]]
    assert mask.tolist() == [[True] * 5 + [False], [True] * 6]
    tokenizer.save(tmp_path)
    assert RobertaTokenizer(tmp_path, max_length=6)(["A b"])[0].tolist() == [[0, 5, 31, 6, 2]]
    with pytest.raises(UserError, match="lacks RoBERTa's tokenizer"):
        RobertaTokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("model", "init", "message"),
    [
        ({}, {"resnet": None}, r"init\.resnet: give the folder of a pretrained resnet"),
        ({}, {"roberta": None}, r"init\.roberta: give the folder of a pretrained roberta"),
        ({"image_network": "convolutions"}, {}, r"init\.resnet: the model has no resnet"),
        ({"image_widths": [32, 32, 48, 96]}, {}, "do not fit the model"),
        ({"text_layers": 2}, {}, r"init\.roberta: .* lacks \d+ weights"),
        ({}, {"tokenizer": "some.model"}, "RoBERTa has a tokenizer of its own"),
        ({}, {"sam2": "sam2.pt"}, r"init\.sam2 is not for grounders"),
        ({}, {"resnet": "nowhere"}, r"init\.resnet: there is no folder nowhere"),
        ({"vocab_size": 10}, {}, "tokens, the model 10"),
    ],
)
def test_what_cannot_be_is_told(
    papers_recipe: MakeRecipe, model: dict[str, Any], init: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_grounder_start(papers_recipe(model=model, init=init))


def test_segmenters_have_no_resnet(make_recipe: MakeRecipe, resnet: Path) -> None:
    from refersat.training.initialise import plan_start

    with pytest.raises(UserError, match=r"init\.resnet is for grounders; base built-in is none"):
        plan_start(make_recipe(init={"resnet": resnet}))
