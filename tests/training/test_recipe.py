"""Recipes: what is wrong is named by its field, and what is right comes back as given."""

from __future__ import annotations

from pathlib import Path

import pytest

from refersat.errors import UserError
from refersat.training.recipe import OutlineData, Recipe, SampleData
from refersat.training.recipe_files import changed_recipe, load_recipe, shipped_recipes
from refersat.training.schedule import Schedule

PATHS = ["data.annotations=train.json", "data.images=images"]
MINIMAL = """
name: mine
data: {annotations: train.json, images: images}
stages:
  - {steps: 10, image_size: 64, batch_size: 4}
  - {steps: 5, image_size: 128, batch_size: 2}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    return path


def test_shipped_recipes_need_only_the_data() -> None:
    names = [
        "built-in",
        "built-in-grounder",
        "built-in-sam",
        "grounder-dior-rsvg",
        "grounder-rrsisd",
        "own-triplets",
        "rs2sam2-refsegrs",
        "rs2sam2-risbench",
        "rs2sam2-rrsisd",
        "sam-decoder",
    ]
    assert shipped_recipes() == names
    for name in names:
        recipe = load_recipe(name, PATHS if name.startswith("built-in") else ["data.train=triplets:mine"])
        assert recipe.name == name
        assert Schedule.of(recipe, 100).steps > 0


@pytest.mark.parametrize(
    ("name", "samples", "steps", "rate", "fast"),
    [("rs2sam2-refsegrs", 2172, 60 * 2172 // 8, 5e-5, 1e-4), ("rs2sam2-rrsisd", 12181, 60905, 1e-5, 5e-5)],
)
def test_the_papers_recipes_are_the_papers(name: str, samples: int, steps: int, rate: float, fast: float) -> None:
    recipe = load_recipe(name, ["data.train=triplets:mine"])
    schedule = Schedule.of(recipe, samples)
    assert schedule.steps == steps
    last = round(10 * samples / 8)
    assert schedule.rate(0) == schedule.rate(steps - last - 1) == rate
    assert schedule.rate(steps - last) == schedule.rate(steps - 1) == pytest.approx(rate / 10)
    assert (recipe.parts.fusion.learning_rate, recipe.parts.mask_prompt.learning_rate) == (fast, fast)
    frozen = [part for part in type(recipe.parts).model_fields if not getattr(recipe.parts, part).train]
    assert frozen == ["trunk", "neck"]
    assert recipe.optimizer.weight_decay == 0.01
    assert (recipe.loss.cross_entropy, recipe.loss.dice, recipe.loss.boundary) == (0.9, 0.2, 0.2)
    assert recipe.base == "large"


@pytest.mark.parametrize(("name", "samples"), [("grounder-dior-rsvg", 26991), ("grounder-rrsisd", 12181)])
def test_the_grounders_recipes_are_the_papers(name: str, samples: int) -> None:
    recipe = load_recipe(name, ["data.train=triplets:mine"])
    assert isinstance(recipe.data, SampleData)
    schedule = Schedule.of(recipe, samples)
    assert schedule.steps == round(70 * samples / 8)
    last = round(30 * samples / 8)
    assert schedule.rate(0) == schedule.rate(schedule.steps - last - 1) == 1e-4
    assert schedule.rate(schedule.steps - last) == schedule.rate(schedule.steps - 1) == pytest.approx(1e-5)
    assert (recipe.parts.image_network.learning_rate, recipe.parts.text_network.learning_rate) == (5e-5, 1e-5)
    assert (recipe.box_loss.focal, recipe.box_loss.box, recipe.box_loss.giou) == (2, 5, 2)
    options = recipe.optimizer
    assert (options.kind, options.weight_decay, options.clip, options.average) == ("adamw", 5e-4, 0.1, None)
    assert (recipe.data.flip, recipe.stages[0].image_size, recipe.base) == ("none", 800, "lqvg")


def test_data_is_of_one_kind_or_the_other(recipe_file: Path) -> None:
    assert isinstance(load_recipe(str(recipe_file), []).data, OutlineData)
    recipe = load_recipe(str(recipe_file), ["data={train: 'triplets:a'}"])
    assert isinstance(recipe.data, SampleData)
    assert recipe.data.train == ["triplets:a"]
    both = load_recipe(str(recipe_file), ["data={train: ['triplets:a', 'rrsisd:b']}"]).data
    assert isinstance(both, SampleData)
    assert both.train == ["triplets:a", "rrsisd:b"]


def test_a_recipe_can_be_changed(recipe_file: Path) -> None:
    recipe = load_recipe(str(recipe_file), [])
    changed = changed_recipe(recipe, {"optimizer.clip": 0.5, "model.image_size": 64})
    assert (changed.optimizer.clip, changed.model) == (0.5, {"image_size": 64})
    assert recipe.optimizer.clip == 1.0
    with pytest.raises(UserError, match=r"recipe mine: optimizer\.clap: there is no such field; did you mean clip\?"):
        changed_recipe(recipe, {"optimizer.clap": 1})


def test_missing_data_is_named_in_one_line() -> None:
    with pytest.raises(UserError, match=r"data\.annotations: is required: .*; data\.images: is required") as caught:
        load_recipe("built-in", [])
    assert "\n" not in str(caught.value)
    assert "--set FIELD=VALUE" in str(caught.value)


def test_the_resolved_recipe_is_a_recipe(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(recipe_file), ["optimizer.learning_rate=1e-5", "model.trunk_depths=[1, 1, 1, 1]"])
    resolved = tmp_path / "recipe.json"
    resolved.write_text(recipe.model_dump_json(indent=2))
    assert load_recipe(str(resolved), []) == recipe


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optimizer.learning_rate=1e-4", lambda r: r.optimizer.learning_rate == 1e-4),
        ("data.never_absent=[vehicle, ship]", lambda r: r.data.never_absent == ["vehicle", "ship"]),
        ("data.validation=runs/val", lambda r: r.data.validation == Path("runs/val")),
        ("data.validation=null", lambda r: r.data.validation is None),
        ("augment.flip=false", lambda r: r.augment.flip is False),
        ("name=a=b", None),
        ("model.presence_threshold=0.25", lambda r: r.model == {"presence_threshold": 0.25}),
        ("stages=[{steps: 2, image_size: 32, batch_size: 1}]", lambda r: r.steps == 2),
    ],
)
def test_set_changes_a_field(recipe_file: Path, override: str, value: object) -> None:
    if callable(value):
        assert value(load_recipe(str(recipe_file), [override]))
    else:  # only the first = divides
        with pytest.raises(UserError, match="name: takes letters"):
            load_recipe(str(recipe_file), [override])


def test_the_last_set_wins(recipe_file: Path) -> None:
    assert load_recipe(str(recipe_file), ["seed=1", "seed=2"]).seed == 2


def test_set_fills_an_empty_section(tmp_path: Path) -> None:
    path = tmp_path / "open.yaml"
    path.write_text("name: open\ndata:\nstages: [{steps: 1, image_size: 32, batch_size: 1}]\n")
    assert load_recipe(str(path), PATHS).data.images == Path("images")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1", r"optimizer\.learning_rat: there is no such field; did you mean learning_rate\?"),
        ("stage=1", r"stage: there is no such field; did you mean stages\?"),
        ("optimizer.learning_rate=0", r"optimizer\.learning_rate: Input should be greater than 0"),
        ("optimizer.average=1", r"optimizer\.average: Input should be less than 1"),
        ("augment.crop=1.5", r"augment\.crop: Input should be less than or equal to 1"),
        ("seed=-1", r"seed: Input should be greater than or equal to 0"),
        ("stages=[]", r"stages: List should have at least 1 item"),
        ("stages=[{steps: 1, image_size: 100, batch_size: 1}]", r"stages\.0\.image_size: .* multiple of 32"),
        (
            "stages=[{steps: 1, image_size: 32, batch_size: 1, phrases_per_view: 0}]",
            r"stages: the last stage must train all that will run: phrases_per_view > 0",
        ),
        ("stages=[{steps: 1, epochs: 1, image_size: 32, batch_size: 1}]", r"stages\.0: give either steps or epochs"),
        ("stages=[{image_size: 32, batch_size: 1}]", r"stages\.0: give either steps or epochs"),
        ("stages=[{epochs: 1, image_size: 32, batch_size: 1}]", r"epochs need data\.train"),
        ("validate_every={epochs: 2}", r"epochs need data\.train"),
        ("validate_every=often", r"validate_every: takes a number of steps, or \{epochs: 2\}"),
        ("validate_every=true", r"validate_every: takes a number of steps"),
        ("stages=[{steps: 1, side: 32, batch_size: 1}]", r"stages\.0\.side: there is no such field; there are steps, "),
        ("optimizer=adamw", r"optimizer: has fields of its own: kind, learning_rate"),
        ("parts.trunk=false", r"parts\.trunk: has fields of its own: train, learning_rate"),
        ("data.flip=both", r"data\.flip: only goes with data\.train"),
        ("data={train: 'triplets:a', rare: 0.1}", r"data\.rare: only goes with data\.annotations"),
        ("data.batch=abc", r"data\.batch: there is no such field; there are kind, annotations, images"),
        ("data={train: 'triplets:a', colours: 1}", r"data\.colours: there is no such field; did you mean colour\?"),
        ("data={kind: samples}", r"data\.train: is required"),
        ("data={kind: pictures}", r"data: "),
        ("data={train: 'triplets:a', holdout: 0.1, validation: 'triplets:b'}", r"data: give either holdout or"),
        (
            "stages=[{steps: 1, image_size: 32, batch_size: 1, only: trunk}]",
            r"stages\.0\.only: Input should be 'selection'",
        ),
        ("parts.trnk.train=false", r"parts\.trnk: there is no such field; did you mean trunk\?"),
        ("parts.trunk.learning_rate=0", r"parts\.trunk\.learning_rate: Input should be greater than 0"),
        ("init={model: built-in, sam2: sam2.pt}", r"init: model is whole already: leave out sam2"),
        (
            "base=huge",
            r"base: Input should be 'built-in', .*'lqvg', 'built-in-sam' or 'sam'",
        ),
        ("loss.boundary_kind=hard", r"loss\.boundary_kind: Input should be 'released' or 'soft'"),
        ("optimizer.drop={factor: 0.1}", r"optimizer\.drop: give either steps or epochs"),
        ("data.style=heldout", r"data\.style: Input should be 'train' or 'all'"),
        ("name=../elsewhere", r"name: takes letters, digits, dots, - and _ only"),
        ("seed", "--set takes FIELD=VALUE"),
        ("=1", "--set takes FIELD=VALUE"),
        ("name.a=1", "name has no named fields"),
        ("stages.0=1", "stages has no named fields"),
        ("data.never_absent=[ship", "the value is not valid YAML"),
    ],
)
def test_a_mistake_names_its_field(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(str(recipe_file), [override])


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "not valid YAML"), ("", "holds no fields"), ("- a", "holds no fields")]
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_recipe(str(path), [])


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(UserError, match=r"cannot read the recipe bilt-in: No such file or directory; .*built-in"):
        load_recipe("bilt-in", [])


def test_recipes_cannot_be_changed_afterwards(recipe_file: Path) -> None:
    recipe: Recipe = load_recipe(str(recipe_file), [])
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
