"""The ablations of benchmarks/ablations.py, with a tiny model: what a row is, going on, and the report."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ablations
import pytest
import torch
from ablation_report import Conditions, Score, draw, table_csv, table_markdown
from ablation_rows import ALL, NOTHING, ROWS, Size, row_recipe, start_recipe
from PIL import Image

from refersat.errors import UserError
from refersat.models.loading import read_folder
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.interruption import Stopped
from refersat.training.parts import part_of
from refersat.training.recipe import OutlineData

CONDITIONS = Conditions(seeds=2, steps=300, start_steps=900, side=128, machine="two cores")
SCORES = {
    "baseline": {0: Score(10.0, 20.0, 810, 2.0), 1: Score(14.0, 24.0, 810, 2.0)},
    "boundary-soft": {0: Score(9.0, 20.0, 810, 2.0)},
    "all": {0: Score(15.0, 30.0, 810, 4.0), 1: Score(20.0, 34.0, 810, 4.0)},
}


@pytest.fixture(scope="module")
def nwpu(data_set: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set, laid out as NWPU VHR-10."""
    folder = tmp_path_factory.mktemp("nwpu")
    shutil.copytree(data_set.images, folder / "images")
    for name in ("train.json", "val.json"):
        shutil.copyfile(data_set.annotations, folder / name)
    return folder


@pytest.fixture
def make_plan(nwpu: Path, tmp_path: Path, tiny_model: dict[str, Any]) -> Callable[..., ablations.Plan]:
    """Makes a plan of a few steps of the tiny model, with these changes."""

    def make(**changes: Any) -> ablations.Plan:
        size = Size(side=32, steps=2, start_steps=2, precision="float32", model=tiny_model)
        plan = ablations.Plan(nwpu, tmp_path / "out", ("baseline", "all"), (0,), size, never_absent=(), per_image=2)
        return replace(plan, **changes)

    return make


def run(plan: ablations.Plan, advance: Callable[[int], None] = lambda count: None) -> dict[str, dict[int, Score]]:
    plan.out.mkdir(exist_ok=True)
    return ablations.Runs(plan, advance=advance, tell=lambda line: None).all()


def model_of(tiny_model: dict[str, Any], **switches: Any) -> RS2Sam2Model:
    config = {**RS2Sam2Config.built_in().to_dict(), **tiny_model, **switches}
    return RS2Sam2Model(RS2Sam2Config(**config))


def parts_of(model: RS2Sam2Model) -> set[str]:
    return {part_of(name) for name, _ in model.named_parameters()}


def test_rows_are_trained_once_and_reported(
    make_plan: Callable[..., ablations.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    advanced: list[int] = []
    scores = run(plan, advanced.append)

    assert sum(advanced) == ablations.steps_of(plan) == 6
    assert scores["all"][0].phrases > 0
    assert not (plan.out / "first" / "all-0").exists()
    written = list(csv.DictReader(io.StringIO((plan.out / "ablations.csv").read_text())))
    assert [line["row"] for line in written] == ["baseline", "all"]
    assert float(written[1]["mIoU"]) == pytest.approx(scores["all"][0].miou, abs=0.005)
    assert Image.open(plan.out / "ablations.png").size[0] > 1000
    assert "one seed" in (plan.out / "ablations.md").read_text()

    monkeypatch.setattr(ablations, "train", lambda *_, **__: pytest.fail("trained again"))
    advanced.clear()
    assert run(plan, advanced.append) == scores
    assert sum(advanced) == 6


def test_other_settings_are_not_mixed_with_what_is_there(make_plan: Callable[..., ablations.Plan]) -> None:
    plan = make_plan(rows=("baseline",))
    run(plan)
    with pytest.raises(UserError, match="another --out"):
        run(replace(plan, size=replace(plan.size, steps=3)))


def test_an_interrupted_row_goes_on_where_it_was(make_plan: Callable[..., ablations.Plan], tmp_path: Path) -> None:
    plan = make_plan(rows=("baseline",))
    plan = replace(plan, size=replace(plan.size, steps=4))
    whole = run(plan)

    def stop(count: int) -> None:
        if (other.out / "baseline-0" / "metrics.jsonl").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    other = replace(plan, out=tmp_path / "other")
    with pytest.raises(Stopped):
        run(other, stop)
    steps = [path.name for path in (other.out / "baseline-0" / "states").iterdir()]
    assert steps == ["step-0000001.pt"]
    advanced: list[int] = []
    resumed = run(other, advanced.append)
    assert sum(advanced) == ablations.steps_of(other)
    assert resumed["baseline"][0].miou == whole["baseline"][0].miou
    resumption = '"resumed": true'
    assert resumption in (other.out / "baseline-0" / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("baseline", {"fusion", "adapters", "mask_prompt", "projections"}),
        ("boundary-released", {"fusion", "adapters", "mask_prompt"}),
        ("mask-prompt", {"fusion", "adapters", "projections"}),
        ("fusion", {"mask_prompt"}),
        ("all", set()),
        ("linear", set()),
        ("no-encoder-fusion", set()),
        ("no-block-fusion", {"adapters"}),
    ],
)
def test_a_row_has_the_parts_that_its_name_says(name: str, absent: set[str], tiny_model: dict[str, Any]) -> None:
    everything = parts_of(model_of(tiny_model, **ALL))
    model = model_of(tiny_model, **ROWS[name].model)
    names = [parameter for parameter, _ in model.named_parameters()]
    # The token's projection is in every row.
    kept = {"projections"} if "projections" in absent else set()
    assert everything - parts_of(model) == absent - kept
    assert any(each.startswith("text_projection.") for each in names) == ("projections" not in absent)
    assert any("trunk.blocks.0.fusion." in each for each in names) == (ROWS[name].model["block_fusion"] != "none")
    assert (model.encoder_fusion is not None) == (name not in ("no-encoder-fusion", *_WITHOUT_FUSION))
    assert (model.boundary_scalar is not None) == (ROWS[name].boundary is not None)


_WITHOUT_FUSION = ("baseline", "boundary-released", "boundary-soft", "mask-prompt")


def test_what_a_row_learns_is_the_papers_and_its_trunk_is_frozen(nwpu: Path) -> None:
    data = OutlineData(annotations=nwpu / "train.json", images=nwpu / "images")
    for name, row in ROWS.items():
        recipe = row_recipe(name, data, Size(), 1, None)
        assert not (recipe.loss.coarse)
        assert not (recipe.loss.categories)
        assert not (recipe.loss.named)
        assert not (recipe.loss.pseudo_mask)
        assert (recipe.loss.boundary > 0) == (row.boundary is not None)
        if row.boundary is not None:
            assert recipe.loss.boundary_kind == row.boundary
            assert recipe.loss.boundary / recipe.loss.cross_entropy == pytest.approx(0.2)
        assert not recipe.parts.trunk.train
        assert not recipe.parts.neck.train
        assert recipe.parts.fusion.train
        assert recipe.steps == Size().steps
    assert start_recipe(data, Size(), 1).steps == Size().start_steps


def test_rows_start_with_the_same_weights(
    tiny_model: dict[str, Any], tmp_path: Path, trained_tokenizer: PhraseTokenizer
) -> None:
    start = model_of({**tiny_model, "vocab_size": trained_tokenizer.vocab_size}, **NOTHING)
    start.save_pretrained(tmp_path / "start")
    trained_tokenizer.save(tmp_path / "start")
    begun = start.state_dict()
    seen: dict[str, torch.Tensor] = {}
    for name, row in ROWS.items():
        ablations.first_weights(tmp_path / "start", row.model, tmp_path / "first", seed=0)
        config = read_folder(tmp_path / "first").config
        assert {switch: getattr(config, switch) for switch in row.model} == row.model
        weights = RS2Sam2Model.from_pretrained(tmp_path / "first").state_dict()
        for parameter, value in weights.items():
            if parameter in begun:
                assert torch.equal(value, begun[parameter]), f"{name}: {parameter} is not the common start's"
            assert torch.equal(value, seen.setdefault(parameter, value)), f"{name}: {parameter} is another row's"
    assert set(seen) > set(begun)

    ablations.first_weights(tmp_path / "start", ALL, tmp_path / "first", seed=1)
    other = RS2Sam2Model.from_pretrained(tmp_path / "first").state_dict()
    assert torch.equal(other["neck.convs.0.weight"], begun["neck.convs.0.weight"])
    assert not torch.equal(other["mask_prompt.token_linear.weight"], seen["mask_prompt.token_linear.weight"])


@pytest.fixture(scope="module")
def trained_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PhraseTokenizer:
    import numpy as np

    from refersat.text.corpus import corpus
    from refersat.text.tokenizer import train_tokenizer

    sentences = corpus(np.random.default_rng(0), 400)
    return train_tokenizer(sentences, tmp_path_factory.mktemp("tokenizer"), 299, max_length=32)


def test_table_has_means_spreads_and_the_papers_numbers() -> None:
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(table_csv(SCORES, CONDITIONS)))}
    every = lines["all"]
    assert (every["mIoU"], every["mIoU_lowest"], every["mIoU_highest"]) == ("17.50", "15.00", "20.00")
    assert (every["seeds"], every["mIoU_by_seed"]) == ("0 1", "15.00 20.00")
    assert (every["mIoU_above_baseline"], every["paper_above_baseline"]) == ("+5.50", "+37.26")
    assert (every["paper_mIoU"], every["paper_oIoU"], every["machine"]) == ("73.9", "80.87", "two cores")
    # Compared with the baseline of the seed that it has.
    assert lines["boundary-soft"]["mIoU_above_baseline"] == "-1.00"
    assert lines["boundary-soft"]["paper_mIoU"] == ""
    assert lines["baseline"]["mIoU_above_baseline"] == ""

    text = table_markdown(SCORES, {0: Score(8.0, 16.0, 810, 5.0)}, CONDITIONS)
    assert "| 17.5 (15.0 to 20.0) | +5.50 | 32.0 | 73.90 | +37.26 | 80.87 |" in text
    assert "| 9.0 (one seed) | -1.00 |" in text
    assert "19 minutes" in text
    assert "128 px" in text


def test_figure_grows_with_its_rows() -> None:
    few, more = (draw({name: SCORES[name] for name in names}, CONDITIONS) for names in (["all"], SCORES))
    heights = [Image.open(io.BytesIO(png)).size[1] for png in (few, more)]
    assert heights[1] > heights[0]


def test_time_is_measured_for_every_run(make_plan: Callable[..., ablations.Plan]) -> None:
    plan = make_plan(seeds=(0, 1))
    plan.out.mkdir()
    told: list[str] = []
    minutes = ablations.expected(plan, told.append)
    assert minutes > 0
    assert [line.split("  ")[0] for line in told] == ["start, stage 1", "start, stage 2", "baseline", "all"]
    assert {path.name for path in plan.out.iterdir()} == {"validation"}


def test_wrong_rows_are_named(nwpu: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such row: mask"):
        ablations.ablations(nwpu, out=tmp_path, rows="mask,all")
    with pytest.raises(UserError, match="--seeds takes numbers"):
        ablations.ablations(nwpu, out=tmp_path, seeds="two")
