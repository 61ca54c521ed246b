"""Weights that a run starts with: each from where the recipe says, and what does not fit is told by name."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from refersat.errors import UserError
from refersat.models.official import plan_conversion
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import TOKENIZER_FILE, train_tokenizer
from refersat.training.initialise import Start, plan_start
from refersat.training.loop import train
from refersat.training.parts import part_of, summaries
from refersat.training.recipe import Recipe
from refersat.training.summary import parts_table
from tests.models.tiny_rs2sam2 import TINY

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = {**TINY, "union_patch_size": 16, "vocab_size": 60, "text_positions": 34, "max_text_length": 32}
LAYER = re.compile(r"(?<=\.blocks\.)\d+(?=\.)|(?<=encoder\.layers\.)\d+(?=\.)")
MakeRecipe = Callable[..., Recipe]


def write_released(file: Path, keys: str, model: RS2Sam2Model) -> Path:
    """A part of a tiny model under the names of a release, whose layers are larger and more."""
    with gzip.open(FIXTURES / f"{keys}.json.gz", "rt", encoding="utf-8") as stream:
        plan = plan_conversion(json.load(stream))
    names = {LAYER.sub("#", ours): [LAYER.sub("#", one) for one in theirs] for ours, theirs in plan.sources.items()}
    released: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        theirs = names.get(LAYER.sub("#", name), [])
        number = LAYER.search(name)
        whole = [one.replace("#", number[0]) if number else one for one in theirs]
        released |= {one: part.clone() for one, part in zip(whole, tensor.chunk(max(1, len(whole))), strict=False)}
    torch.save({"model": released}, file)
    return file


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Files of SAM 2, BEiT-3 and its tokenizer, and the model that has all of their weights."""
    folder = tmp_path_factory.mktemp("released")
    tokenizer = train_tokenizer([f"the {word} ship on the left" for word in ("red", "big")], folder, 50)
    torch.manual_seed(1)
    model = RS2Sam2Model(RS2Sam2Config(**{**RS2Sam2Config.large().to_dict(), **MODEL}))
    (folder / TOKENIZER_FILE).rename(folder / "tiny.spm")
    assert tokenizer.vocab_size <= MODEL["vocab_size"]
    return SimpleNamespace(
        model=model,
        sam2=write_released(folder / "sam2_tiny.pt", "sam2_hiera_large_keys", model),
        beit3=write_released(folder / "beit3_tiny.pth", "beit3_large_keys", model),
        tokenizer=folder / "tiny.spm",
    )


@pytest.fixture
def from_releases(make_sample_recipe: MakeRecipe, released: SimpleNamespace) -> MakeRecipe:
    def make(*, model: dict[str, Any] | None = None, init: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        files = {name: getattr(released, name) for name in ("sam2", "beit3", "tokenizer")}
        return make_sample_recipe(
            base="large", model={**MODEL, **(model or {})}, init={**files, **(init or {})}, **changes
        )

    return make


def filled(start: Start) -> RS2Sam2Model:
    torch.manual_seed(2)
    model = RS2Sam2Model(start.config)
    start.fill(model)
    return model


def test_parts_come_from_their_releases_and_the_rest_is_fresh(
    from_releases: MakeRecipe, released: SimpleNamespace
) -> None:
    start = plan_start(from_releases())
    torch.manual_seed(2)
    fresh = RS2Sam2Model(start.config).state_dict()
    theirs = released.model.state_dict()
    origins: dict[str, set[str]] = {}
    for name, value in filled(start).state_dict().items():
        origin = start.origins.get(name, "fresh")
        origins.setdefault(part_of(name), set()).add(origin)
        assert torch.equal(value, (fresh if origin == "fresh" else theirs)[name]), name
    assert origins == {
        "trunk": {"sam2_tiny.pt"},
        "neck": {"sam2_tiny.pt"},
        "prompt_encoder": {"sam2_tiny.pt"},
        "mask_decoder": {"sam2_tiny.pt"},
        "union_encoder": {"beit3_tiny.pth"},
        "fusion": {"fresh"},
        "adapters": {"fresh"},
        "mask_prompt": {"fresh"},
        "projections": {"fresh"},
    }
    assert start.tokenizer is not None


def test_the_report_says_what_comes_from_where(from_releases: MakeRecipe) -> None:
    recipe = from_releases(parts={"trunk": {"train": False}})
    start = plan_start(recipe)
    model = RS2Sam2Model(start.config)
    lines = {line.split()[0]: line for line in parts_table(summaries(model, dict(start.origins)), recipe)}
    assert lines["trunk"].endswith("sam2_tiny.pt")
    assert lines["union_encoder"].endswith("beit3_tiny.pth")
    assert lines["fusion"].endswith("fresh")
    total = sum(parameter.numel() for parameter in model.parameters())
    assert f"{total / 1e6:.2f} M" in lines["all"]


def test_a_run_starts_from_releases_and_tells(
    from_releases: MakeRecipe, released: SimpleNamespace, tmp_path: Path
) -> None:
    told: list[str] = []
    recipe = from_releases(
        parts={"trunk": {"train": False}, "neck": {"train": False}},
        stages=[{"steps": 1, "image_size": 64, "batch_size": 2}],
        validate_every=1,
    )
    model = train(recipe, tmp_path / "run", tell=told.append)
    assert any(line.startswith("trunk") and "frozen" in line and "sam2_tiny.pt" in line for line in told)
    theirs = released.model.state_dict()
    for name, value in load_file(model / "model.safetensors").items():
        if name.startswith("trunk.") and part_of(name) == "trunk":
            assert torch.equal(value, theirs[name].half()), name
    facts = json.loads((model / "training.json").read_text())
    assert set(facts["weights_sha256"]) == {"sam2_tiny.pt", "beit3_tiny.pth"}
    assert (model / TOKENIZER_FILE).read_bytes() == released.tokenizer.read_bytes()


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"sam2": "nowhere.pt"}, r"init\.sam2: there is no weight file nowhere\.pt"),
        ({"beit3": "nowhere.pth"}, r"init\.beit3: there is no weight file nowhere\.pth"),
        ({"tokenizer": "nowhere.spm"}, r"cannot read the tokenizer nowhere\.spm"),
        ({"tokenizer": None}, r"init\.beit3 needs its tokenizer, beit3\.spm: give init\.tokenizer"),
    ],
)
def test_missing_weights_are_found_before_anything_is_written(
    from_releases: MakeRecipe, tmp_path: Path, init: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(from_releases(init=init), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_that_are_something_else(from_releases: MakeRecipe, released: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"init\.sam2: .*beit3_tiny\.pth holds weights of beit3"):
        plan_start(from_releases(init={"sam2": released.beit3}))
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(released.sam2.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"damaged\.pt"):
        plan_start(from_releases(init={"sam2": damaged}))


def test_weights_of_other_sizes_are_named(from_releases: MakeRecipe) -> None:
    with pytest.raises(
        UserError, match=r"\d+ weights of sam2_tiny\.pt do not fit the model: .*mlp\S+ \[48, 32\] instead of"
    ):
        plan_start(from_releases(model={"decoder_feed_forward": 64}))
    with pytest.raises(UserError, match=r"weights of beit3_tiny\.pth do not fit the model: .* instead of \[\]"):
        plan_start(from_releases(model={"union_layers": 1}))
    with pytest.raises(UserError, match=r"weights of beit3_tiny\.pth do not fit the model"):
        plan_start(from_releases(model={"vocab_size": 70}))


def test_a_tokenizer_with_more_words_than_the_model(from_releases: MakeRecipe, tmp_path: Path) -> None:
    letters = [chr(first + number) for first in (0x61, 0x3B1, 0x430) for number in range(24)]  # Latin, Greek, Cyrillic
    train_tokenizer(letters, tmp_path, 90)  # every character has a piece
    with pytest.raises(UserError, match=r"init\.tokenizer: .* tokens, the model 60"):
        plan_start(from_releases(init={"tokenizer": tmp_path / TOKENIZER_FILE}))


def test_a_whole_model(make_sample_recipe: MakeRecipe, tmp_path: Path) -> None:
    stages = [{"steps": 1, "image_size": 32, "batch_size": 1}]
    first = train(make_sample_recipe(stages=stages), tmp_path / "first")
    recipe = make_sample_recipe(model={}, init={"model": str(first)})
    start = plan_start(recipe)
    saved = load_file(first / "model.safetensors")
    for name, value in filled(start).state_dict().items():
        assert torch.equal(value, saved[name].float())
    assert set(start.origins.values()) == {str(first)}
    assert start.config.trunk_widths == [16, 32, 48, 64]

    with pytest.raises(UserError, match=r"weights of .* do not fit the model: .*fusion"):
        plan_start(make_sample_recipe(model={"fusion_from_block": 3}, init={"model": str(first)}))
    name = sorted(saved)[0]
    del saved[name]
    save_file(saved, first / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=re.escape(f"lacks {name}")):
        plan_start(recipe)


def test_what_a_recipe_adds_to_a_whole_model_is_fresh(make_sample_recipe: MakeRecipe, tmp_path: Path) -> None:
    first = train(make_sample_recipe(stages=[{"steps": 1, "image_size": 32, "batch_size": 1}]), tmp_path / "first")
    start = plan_start(make_sample_recipe(model={"selection": True}, init={"model": str(first)}))
    fresh = {name for name in filled(start).state_dict() if name not in start.origins}
    assert fresh
    assert {name.split(".")[0] for name in fresh} == {"selector"}


def test_a_model_that_is_not_there(make_sample_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match=r"init\.model: there is no folder nowhere: .*refersat models fetch"):
        plan_start(make_sample_recipe(model={}, init={"model": "nowhere"}))
