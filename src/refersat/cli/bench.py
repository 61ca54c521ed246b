"""`refersat bench`: how fast models answer here, and how much memory they take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from refersat.cli.options import Device, Dtype, Model
from refersat.errors import UserError

app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the measurements as JSON to stdout, and nothing else.")]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the measurements as JSON there.", show_default=False)
]


@app.callback()
def bench() -> None:
    """Measure speed and memory on this machine."""


@app.command("model", short_help="The fast form of a model against the plain one.")
def model(
    config: Annotated[
        str, typer.Option(metavar="large|built-in", help="The released model's size with random weights, or built-in.")
    ] = "built-in",
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="auto|float32|bfloat16|int8", help="Number format of the fast form; int8 on a CPU.")
    ] = "auto",
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images that run together; 1 on a CPU, else 8.", show_default=False),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Forward passes that count; 3 for large on a CPU, else 10.", show_default=False
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="On a GPU, let PyTorch compile the fast form; takes minutes.")
    ] = False,
    as_json: AsJson = False,
    save: Save = None,
) -> None:
    """Measure the fast form of a model against the plain eager float32 one with the same weights and inputs.

    Each form runs in a process of its own. `large` has random weights and takes about two minutes on two idle cores.

    Example: refersat bench model --config large
    """
    from refersat.benchmark.case import CONFIGS

    if config not in CONFIGS:
        raise UserError(f"unknown config {config!r}: give {' or '.join(CONFIGS)}")
    _check_parent(save)
    from refersat.benchmark.model import Options, bench_model
    from refersat.device import INT8, choose_device, choose_dtype
    from refersat.models.loading import check_int8

    where = choose_device(device)
    on_cpu = where.type == "cpu"
    computing = choose_dtype(dtype, where)
    if dtype == INT8:
        check_int8("built-in", where, computing, fast=True)
    number_format: Any = str(computing).removeprefix("torch.")
    options = Options(
        config=config,
        device=str(where),
        dtype=number_format,
        int8=dtype == INT8,
        batch=batch or (1 if on_cpu else 8),
        repeats=repeats or (3 if on_cpu and config == "large" else 10),
        compiled=compiled,
    )
    result = bench_model(options, _say)
    _finish(result, as_json=as_json, save=save)
    if not as_json:
        from refersat.benchmark.tables import show_model

        show_model(result)


@app.command("train", short_help="Steps of training, as `refersat train` takes them, against plain ones.")
def train(
    config: Annotated[
        str, typer.Option(metavar="large|built-in", help="What the recipe rs2sam2-rrsisd or built-in trains.")
    ] = "built-in",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="The first GPU, or this.")] = "auto",
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Views of a step; the recipe's, 1 for large on a CPU.", show_default=False
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Steps that count; 2 for large on a CPU, else 10.", show_default=False),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Let PyTorch compile layers of the fast form, which takes minutes; on a GPU unless told otherwise.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    save: Save = None,
) -> None:
    """Measure steps of training: forward and backward pass, clipping, the optimizer and the moving average.

    Each form runs in a process of its own, with the same fresh weights and batches of noise whose phrases change their
    length from step to step; no data is read. Both compute in bfloat16 where the processor does, and for large on a CPU
    with checkpointed activations. The plain form has no compiled layers and PyTorch's usual AdamW.

    Example: refersat bench train --config large
    """
    from refersat.benchmark.case import CONFIGS

    if config not in CONFIGS:
        raise UserError(f"unknown config {config!r}: give {' or '.join(CONFIGS)}")
    _check_parent(save)
    from refersat.cli.train import check_accelerate
    from refersat.device import choose_device, computes_in_bfloat16

    check_accelerate()
    where = choose_device(device)
    if ":" in device:
        raise UserError(f"--device {device}: training takes the first GPU; CUDA_VISIBLE_DEVICES says which that is")
    compiles = where.type == "cuda" if compiled is None else compiled
    if compiles:
        from refersat.models.optimized.compiled import check_compiler

        check_compiler(where)
    from refersat.benchmark.training import Options, bench_train

    large_here = where.type == "cpu" and config == "large"
    options = Options(
        config=config,
        device=str(where),
        batch=batch or (1 if large_here else None),
        steps=steps or (2 if large_here else 10),
        precision="bfloat16" if computes_in_bfloat16(where) else "float32",
        compiled=compiles,
        checkpointing=large_here,
    )
    result = bench_train(options, _say)
    _finish(result, as_json=as_json, save=save)
    if not as_json:
        from refersat.benchmark.tables import show_train

        show_train(result)


@app.command("predict", short_help="The whole pipeline, from files to files.")
def predict(
    model: Model = "built-in",
    device: Device = "auto",
    dtype: Dtype = "auto",
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Measurements of each kind.")] = 3,
    as_json: AsJson = False,
    save: Save = None,
) -> None:
    """Measure reading, resizing, running and writing, for several phrases about an image and for several images.

    Also how long `refersat predict` takes from the start of its process, and `refersat --help`.

    Example: refersat bench predict --save predict.json
    """
    _check_parent(save)
    from refersat.benchmark.pipeline import Options, bench_predict

    options = Options(model=model, device=device, dtype=dtype, repeats=repeats)
    result = bench_predict(options, _say)
    _finish(result, as_json=as_json, save=save)
    if not as_json:
        from refersat.benchmark.tables import show_predict

        show_predict(result)


def _say(what: str) -> None:
    typer.echo(f"{what} ...", err=True)


def _check_parent(save: Path | None) -> None:
    if save is not None and not save.parent.is_dir():
        raise UserError(f"--save: there is no folder {save.parent}")


def _finish(result: dict[str, Any], *, as_json: bool, save: Path | None) -> None:
    text = json.dumps(result, indent=2)
    if save is not None:
        from refersat.output import write_file

        write_file(save, f"{text}\n".encode())
    if as_json:
        typer.echo(text)
