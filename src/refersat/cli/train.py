"""`refersat train`: run a training recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refersat.errors import UserError


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file (YAML), or the name of one that ships: built-in.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model, the log and the state to resume from.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field: --set optimizer.learning_rate=1e-4. Repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    print_recipe: Annotated[bool, typer.Option("--print-recipe", help="Print the resolved recipe and stop.")] = False,
) -> None:
    """Train a model. Phrases are generated for the objects of a COCO instances file while training.

    Several processes or devices: accelerate launch -m refersat train ... (CPU: --cpu --num_processes 2).
    """
    try:
        import accelerate  # noqa: F401 - only to tell early and clearly
    except ModuleNotFoundError:
        raise UserError("training needs more packages: pip install 'refersat[train]'") from None
    from refersat.training.recipe import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    if print_recipe:
        typer.echo(resolved.model_dump_json(indent=2))
        return

    from accelerate import PartialState
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from refersat.training.loop import train as run

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:.1f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not PartialState().is_main_process) as progress:
        task = progress.add_task("training", total=resolved.steps, loss=float("nan"), rate=0.0)

        def report(step: int, values: dict[str, float]) -> None:
            progress.update(task, completed=step, loss=values["loss"], rate=values["images/s"])

        folder = run(resolved, out, resume=resume, report=report)
    if PartialState().is_main_process:
        typer.echo(f"trained model: {folder}")
