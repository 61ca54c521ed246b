"""Train the rows of the paper's Tables 3 and 4 at a compact size, measure them, and compare with the paper.

    python benchmarks/ablations.py nwpu-vhr10 --out runs/ablations --dry-run    # how long will it take?
    python benchmarks/ablations.py nwpu-vhr10 --out runs/ablations

The data is NWPU VHR-10 as docs/how-to/train-built-in.md has it: images, train.json and val.json. What a row is stands
in ablation_rows.py. Writes ablations.csv, ablations.md and ablations.png to --out, anew after every row. Ctrl-C saves
and stops; the same command goes on: what is finished is not trained again.

Two cores do more as two processes of one thread. After the dry run, which makes the phrases that both need:

    OMP_NUM_THREADS=1 python benchmarks/ablations.py nwpu-vhr10 --out runs/ablations --seeds 0 &
    OMP_NUM_THREADS=1 python benchmarks/ablations.py nwpu-vhr10 --out runs/ablations --seeds 1; wait
    python benchmarks/ablations.py nwpu-vhr10 --out runs/ablations    # trains nothing; the report of both
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from ablation_report import Conditions, Score, write_report
from ablation_rows import ALL, ROWS, Size, row_recipe, start_recipe
from rich.console import Console
from transformers.utils import logging as transformers_logging

import refersat
from refersat.cli.progress import bar
from refersat.data.coco import read_coco
from refersat.data.generate import GenerateOptions, generate_triplets
from refersat.data.triplets import read_triplets
from refersat.errors import UserError
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.run import evaluate_samples
from refersat.models.loading import build, read_folder
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.output import output_folder
from refersat.training.interruption import Stopped
from refersat.training.loop import train
from refersat.training.recipe import OutlineData, Recipe, Span
from refersat.training.recipe_files import changed_recipe
from refersat.training.run_folder import FACTS_FILE, RunFolder

NEVER_ABSENT = ("vehicle",)
"""Not outlined in most images of NWPU VHR-10."""

_MEASURED_STEPS, _WARM_UP_STEPS, _MEASURED_PHRASES = 4, 2, 30


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        data: folder with images, train.json and val.json.
        out: folder for everything.
        rows: names in `ROWS`.
        seeds: each trains all rows.
        size: of model and training.
        machine: in words, for the table.
        never_absent: categories that are not outlined everywhere.
        per_image: validation phrases about each image.
    """

    data: Path
    out: Path
    rows: Sequence[str] = tuple(ROWS)
    seeds: Sequence[int] = (0, 1)
    size: Size = field(default_factory=Size)
    machine: str = ""
    never_absent: Sequence[str] = NEVER_ABSENT
    per_image: int = 10

    def source(self) -> OutlineData:
        """The training images, and the phrases that all rows are measured on; these are made if they are not there."""
        phrases = self.out / "validation"
        if not phrases.exists():
            options = GenerateOptions(per_image=self.per_image, never_absent=frozenset(self.never_absent))
            generate_triplets(read_coco(self.data / "val.json"), self.data / "images", phrases, options=options)
        return OutlineData(
            annotations=self.data / "train.json",
            images=self.data / "images",
            validation=phrases,
            never_absent=list(self.never_absent),
        )

    def conditions(self) -> Conditions:
        """What the table says of it."""
        size = self.size
        return Conditions(len(self.seeds), size.steps, size.start_steps, size.side, self.machine or this_machine())


class Runs:
    """The trainings of a plan, each in a folder of its own below `plan.out`.

    Args:
        plan: what to do.
        advance: called with the number of steps done since the last call.
        tell: called with lines for people.
    """

    def __init__(self, plan: Plan, *, advance: Callable[[int], None], tell: Callable[[str], None]) -> None:
        self.plan = plan
        self._advance = advance
        self._tell = tell
        self._data = plan.source()

    def all(self) -> dict[str, dict[int, Score]]:
        """Train and measure whatever is not finished; the report is written after each row."""
        scores: dict[str, dict[int, Score]] = {name: {} for name in self.plan.rows}
        starts: dict[int, Score] = {}
        for seed in self.plan.seeds:
            starts[seed] = self._trained(start_recipe(self._data, self.plan.size, seed))
            for name in self.plan.rows:
                scores[name][seed] = self.row(name, seed)
                some = {row: by_seed for row, by_seed in scores.items() if by_seed}
                write_report(self.plan.out, some, starts, self.plan.conditions())
        return scores

    def row(self, name: str, seed: int) -> Score:
        """A row of a seed whose common start is there."""
        first = self.plan.out / "first" / f"{name}-{seed}"
        recipe = row_recipe(name, self._data, self.plan.size, seed, first)
        if self._score(recipe) is None:
            start = self._folder(start_recipe(self._data, self.plan.size, seed)).model
            first_weights(start, ROWS[name].model, first, seed=seed)
        score = self._trained(recipe)
        shutil.rmtree(first, ignore_errors=True)
        return score

    def _trained(self, recipe: Recipe) -> Score:
        folder = self._folder(recipe)
        steps = recipe.steps or 0
        done = 0
        if self._score(recipe) is None:
            resume = bool(folder.checkpoints.steps())
            if not resume:  # it was interrupted before anything was saved
                shutil.rmtree(folder.path, ignore_errors=True)

            def report(step: int, values: dict[str, float]) -> None:
                nonlocal done
                self._advance(step - done)
                done = step

            train(recipe, folder.path, resume=resume, report=report)
            shutil.rmtree(folder.checkpoints.folder, ignore_errors=True)
        self._advance(steps - done)
        score = self._score(recipe)
        assert score is not None
        self._tell(f"{recipe.name}: mIoU {score.miou:.2f}, oIoU {score.oiou:.2f}, {score.minutes:.1f} minutes")
        return score

    def _score(self, recipe: Recipe) -> Score | None:
        """Of a finished run; None where it is not finished.

        Raises:
            UserError: what is there was trained otherwise.
        """
        folder = self._folder(recipe)
        if folder.recipe.exists():
            before = Recipe.model_validate_json(folder.recipe.read_text(encoding="utf-8"))
            if _essence(before) != _essence(recipe):
                raise UserError(f"{folder.path} was trained with other settings: give those again, or another --out")
        facts = folder.model / FACTS_FILE
        if not facts.exists():
            return None
        scores = json.loads(facts.read_text(encoding="utf-8"))["scores"]
        log = [json.loads(line) for line in folder.log.read_text(encoding="utf-8").splitlines()]
        minutes = sum(entry.get("seconds", 0.0) for entry in log) / 60
        return Score(scores["mIoU"], scores["oIoU"], scores["count"], minutes)

    def _folder(self, recipe: Recipe) -> RunFolder:
        return RunFolder(self.plan.out / recipe.name, recipe.keep)


def _essence(recipe: Recipe) -> dict[str, Any]:
    """A recipe without the places of its files, which may move."""
    content = recipe.model_dump(exclude={"init": True, "data": {"annotations", "images", "validation"}})
    return json.loads(json.dumps(content, default=str))


def first_weights(start: Path, switches: Mapping[str, Any], folder: Path, *, seed: int) -> None:
    """Write the model folder that a row starts with.

    What the common start has is taken from there. The rest is fresh, and equal in all rows of a seed that have it,
    because it is taken from one model with everything.
    """
    read = read_folder(start)
    begun = build(read, device="cpu", dtype=torch.float32).state_dict()
    weights = _fresh(read.config, ALL, seed).state_dict() | begun
    model = _fresh(read.config, switches, seed)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    read.tokenizer.save(folder)


def _fresh(config: RS2Sam2Config, switches: Mapping[str, Any], seed: int) -> RS2Sam2Model:
    torch.manual_seed(seed)
    return RS2Sam2Model(RS2Sam2Config(**{**config.to_dict(), **switches}))


def steps_of(plan: Plan) -> int:
    """Of all runs together."""
    return len(plan.seeds) * (plan.size.start_steps + len(plan.rows) * plan.size.steps)


def expected(plan: Plan, tell: Callable[[str], None]) -> float:
    """Minutes that all would take here from the beginning, by a few steps of each row; told row by row."""
    data = plan.source()
    samples = read_triplets(plan.out / "validation").samples
    start = start_recipe(data, plan.size, 0)
    runs = [(f"start, stage {k + 1}", _alone(start, k), stage.steps) for k, stage in enumerate(start.stages)]
    runs += [(name, row_recipe(name, data, plan.size, 0, None), plan.size.steps) for name in plan.rows]
    total = 0.0
    for name, recipe, steps in runs:
        step, phrase = _measured(recipe, samples[:_MEASURED_PHRASES])
        answered = 0 if recipe.stages[0].phrases_per_view == 0 else len(samples)  # a start is measured once
        minutes = (step * (steps or 0) + phrase * answered) / 60
        total += minutes * len(plan.seeds)
        tell(f"{name:20} {step:6.2f} s a step, {1000 * phrase:4.0f} ms a phrase: {minutes:6.1f} minutes for each seed")
    return total


def _alone(recipe: Recipe, number: int) -> Recipe:
    """One stage of a recipe; it keeps a last step with phrases, which every recipe must have."""
    last = recipe.stages[-1].model_copy(update={"steps": 1})
    stages = [recipe.stages[number]] if recipe.stages[number].phrases_per_view else [recipe.stages[number], last]
    return recipe.model_copy(update={"stages": stages})


def _measured(recipe: Recipe, samples: Sequence[Any]) -> tuple[float, float]:
    """Seconds of a step of a recipe's first stage, and of an answer."""
    count = _WARM_UP_STEPS + _MEASURED_STEPS
    first = recipe.stages[0].model_copy(update={"steps": count})
    short = changed_recipe(recipe, {"data.validation": None, "tokenizer_sentences": 2000})
    short = short.model_copy(update={"stages": [first, *recipe.stages[1:]], "validate_every": Span(steps=10 * count)})
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        model = train(short, Path(folder) / "run", report=lambda step, values: times.append(time.perf_counter()))
        segmenter = refersat.load(model, dtype="float32")
        began = time.perf_counter()
        evaluate_samples(segmenter, samples, protocols=[PROTOCOLS["native"]])
        answered = time.perf_counter() - began
    step = (times[count - 1] - times[_WARM_UP_STEPS - 1]) / _MEASURED_STEPS
    return step, answered / max(1, len(samples))


def this_machine() -> str:
    """The device that trainings run on, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores ({platform.machine()})"


def ablations(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with images, train.json and val.json.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER")] = Path("runs/ablations"),
    rows: Annotated[str, typer.Option(help=f"Of {', '.join(ROWS)}; separated by commas.")] = ",".join(ROWS),
    seeds: Annotated[str, typer.Option(help="Each trains all rows; separated by commas.")] = "0,1",
    steps: Annotated[int, typer.Option(min=1, help="Of each row.")] = Size.steps,
    start_steps: Annotated[int, typer.Option(min=2, help="Of what all rows of a seed start from.")] = Size.start_steps,
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a multiple of 32.")] = Size.side,
    float32: Annotated[bool, typer.Option("--float32", help="For processors that are slow in bfloat16.")] = False,
    machine: Annotated[str, typer.Option(help="In words, for the table.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure how long it will take, and stop.")] = False,
) -> None:
    """Train the rows of the paper's Tables 3 and 4 at a compact size, measure them, and compare with the paper."""
    names = [name.strip() for name in rows.split(",")]
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        raise UserError(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if size <= 0 or size % 32:
        raise UserError(f"--size must be a multiple of 32, not {size}")
    measured = Size(size, steps, start_steps, "float32" if float32 else "bfloat16")
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise UserError(f"--seeds takes numbers separated by commas, not {seeds}") from None
    plan = Plan(data, out, names, numbers, measured, machine)
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    transformers_logging.disable_progress_bar()  # it would draw into ours
    with output_folder(out):
        if dry_run:
            minutes = expected(plan, tell)
            typer.echo(
                f"about {minutes:.0f} minutes: {len(numbers)} seeds of {len(names)} rows, {plan.conditions().machine}"
            )
            return
        with bar("steps") as progress:
            task = progress.add_task("steps", total=steps_of(plan))
            try:
                Runs(plan, advance=lambda count: progress.advance(task, count), tell=tell).all()
            except Stopped as stopped:
                progress.console.print(f"{stopped}; the state is saved, the same command goes on")
                raise typer.Exit(130) from None
    typer.echo((out / "ablations.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        typer.run(ablations)
    except UserError as error:
        typer.echo(f"ablations: {error}", err=True)
        raise SystemExit(2) from None
