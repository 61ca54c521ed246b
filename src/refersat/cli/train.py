"""`refersat train`: run a training recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress

    from refersat.training.recipe import Recipe


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file (YAML), or the name of one that ships (see above).")],
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would train, for how long and with how much memory, and stop.")
    ] = False,
) -> None:
    """Train a model by a recipe: on your own samples, on a published data set, or on outlined objects.

    \b
    refersat train own-triplets --set data.train=triplets:my-data
    refersat train rs2sam2-refsegrs --set data.train=refsegrs:RefSegRS
    refersat train built-in \\
      --set data.annotations=train.json --set data.images=images --set data.validation=runs/val

    Recipes that ship: built-in, built-in-grounder, built-in-sam, grounder-dior-rsvg, grounder-rrsisd, own-triplets,
    rs2sam2-refsegrs, rs2sam2-risbench, rs2sam2-rrsisd, sam-decoder. Those of grounders train the first stage of
    PSLG-SAM, which finds one box for a phrase, those of SAMs the second, its mask; the others train RS2-SAM 2.

    FOLDER/best is the trained model, for --model of every command where it is no grounder; FOLDER/metrics.jsonl is the
    log and FOLDER/curves.png its picture. Ctrl-C saves the state and stops, --resume goes on.

    \b
    Several devices, or processes on a CPU: torchrun --nproc-per-node 2 -m refersat train ...
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with \b
    from refersat.training.recipe_files import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    if print_recipe:
        typer.echo(resolved.model_dump_json(indent=2))
        return

    check_accelerate()
    from refersat.training.devices import processes

    state = processes()
    if dry_run:
        from refersat.training.dry_run import dry_run as describe

        lines = describe(resolved, processes=state.num_processes)
        if state.is_main_process:
            typer.echo("\n".join(lines))
        return
    _run(resolved, out or Path("runs") / resolved.name, resume=resume, main=state.is_main_process)


def check_accelerate() -> None:
    """See that what training needs beside prediction is installed.

    Raises:
        UserError: it is not.
    """
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("training needs more packages: pip install 'refersat[train]'") from None


def _run(recipe: Recipe, folder: Path, *, resume: bool, main: bool) -> None:
    from refersat.cli.progress import bar
    from refersat.training.interruption import Stopped
    from refersat.training.loop import train as run

    words = "loss {task.fields[loss]:.3f}  {task.fields[rate]:.1f} images/s"
    progress = bar(after=words, disable=not main)
    task = progress.add_task("training", total=None, loss=float("nan"), rate=0.0)

    def report(step: int, values: dict[str, float]) -> None:
        progress.update(task, completed=step, total=values["steps"], loss=values["loss"], rate=values["views/s"])
        progress.start()  # not before: what went wrong until then is one line

    def tell(line: str) -> None:
        progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        model = run(recipe, folder, resume=resume, report=report, tell=tell)
    except Stopped as stopped:
        _end(progress)
        if main:
            typer.echo(f"{stopped}; the state is saved, --resume goes on", err=True)
        raise
    finally:
        _end(progress)
    if main:
        typer.echo(f"trained model: {model}")


def _end(progress: Progress) -> None:
    """Leave the bar as it is; one that was never shown would leave an empty line."""
    if progress.live.is_started:
        progress.stop()
