"""`refersat train`: run a training recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refersat.errors import UserError


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file (YAML), or the name of one that ships: built-in.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="For the model, the log and the state; runs/NAME of the recipe by default."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe; VALUE is YAML. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the recipe with every field and stop.")
    ] = False,
) -> None:
    """Train a model on the outlined objects of a COCO instances file; phrases are generated while training.

    \b
    refersat train built-in \\
      --set data.annotations=train.json --set data.images=images --set data.validation=runs/val

    `refersat data generate` makes the validation folder. FOLDER/model is the trained model, for --model of every
    command; FOLDER/metrics.jsonl is the log. Ctrl-C saves the state and stops, --resume goes on.

    \b
    Several devices, or processes on a CPU: torchrun --nproc-per-node 2 -m refersat train ...
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with \b
    from refersat.training.recipe import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    if print_recipe:
        typer.echo(resolved.model_dump_json(indent=2))
        return
    folder = out or Path("runs") / resolved.name

    try:
        from accelerate import PartialState
    except ModuleNotFoundError:
        raise UserError("training needs more packages: pip install 'refersat[train]'") from None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from refersat.training.interruption import Stopped
    from refersat.training.loop import train as run

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:.1f} views/s"),
        TimeRemainingColumn(),
    )
    main = PartialState().is_main_process
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not main) as progress:
            task = progress.add_task("training", total=resolved.steps, loss=float("nan"), rate=0.0)

            def report(step: int, values: dict[str, float]) -> None:
                progress.update(task, completed=step, loss=values["loss"], rate=values["views/s"])

            model = run(resolved, folder, resume=resume, report=report)
    except Stopped as stopped:
        if main:
            typer.echo(f"{stopped}; the state is saved, --resume goes on", err=True)
        raise
    if main:
        typer.echo(f"trained model: {model}")
