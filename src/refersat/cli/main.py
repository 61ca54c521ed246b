"""The `refersat` command: registers the commands and turns every failure into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from refersat.cli import bench, data, models
from refersat.cli.batch import batch
from refersat.cli.doctor import doctor
from refersat.cli.evaluate import evaluate
from refersat.cli.export import export
from refersat.cli.predict import predict
from refersat.cli.scene import scene
from refersat.cli.serve import serve
from refersat.cli.train import train
from refersat.errors import UserError

OUR_FAILURE = 1
USERS_MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="refersat",
    help="An English phrase and an aerial image in, the mask of what the phrase names out.",
    epilog="Exit codes: 0 done, 2 a mistake that one line on stderr explains, 1 a failure of refersat itself.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would cost more than half of the time in which `--help` answers
)
app.command("predict", short_help="Masks of what phrases name in images.")(predict)
app.command("scene", short_help="Raster and polygons of what phrases name in a scene of any size.")(scene)
app.command("batch", short_help="A catalogue of images and scenes, here or on a cluster.")(batch)
app.command("serve", short_help="A page in the browser and an API.")(serve)
app.command("evaluate", short_help="Measure a model on a data set.")(evaluate)
app.command("train", short_help="Train a model from a recipe.")(train)
app.command("export", short_help="A model as graphs that run without refersat: ONNX, torch.export.")(export)
app.command("doctor", short_help="What is installed, what it runs on, whether it works.")(doctor)
app.add_typer(models.app, name="models", no_args_is_help=False)  # "Missing command" is a mistake like any other
app.add_typer(bench.app, name="bench", no_args_is_help=False)
app.add_typer(data.app, name="data", no_args_is_help=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        import refersat

        typer.echo(f"refersat {refersat.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """An English phrase and an aerial image in, the mask of what the phrase names out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: the words after `refersat`; those of the process when None. No words at all print the help.

    Returns:
        The exit code: 0 done, 2 the user's mistake, 1 our failure, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=words or ["--help"], prog_name="refersat", standalone_mode=False)
        sys.stdout.flush()  # a closed pipe shows itself here, not after the interpreter's shutdown began
    except UserError as error:
        return _complain(str(error), USERS_MISTAKE)
    except typer.TyperException as error:
        return _complain(_usage(error), error.exit_code)
    except typer.Abort:
        return _complain("stopped at a prompt", OUR_FAILURE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: let the last flush succeed
        return OUR_FAILURE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        return _explain_failure(error)
    if code == INTERRUPTED:  # typer, too, turns an interrupt inside a command into this code
        print("refersat: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    """Prints the one line that explains a failure and returns the exit code."""
    print(f"refersat: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line as typed, and where the help is."""
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return error.format_message().removesuffix(".") + hint


def _explain_failure(error: Exception) -> int:
    if os.environ.get("REFERSAT_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
        return _complain(f"{type(error).__name__}: {error}", OUR_FAILURE)
    return _complain(f"{type(error).__name__}: {error} (set REFERSAT_DEBUG=1 for the traceback)", OUR_FAILURE)
