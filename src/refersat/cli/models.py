"""`refersat models`: what there is, what is known about it, how to get it and to pass it on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.models.zoo import ModelCard, Numbers

app = typer.Typer(help="List, describe, fetch, convert, assemble and push models.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else.")]


@app.callback()
def models() -> None:
    """List, describe, fetch, convert, assemble and push models."""


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models that this version can run."""
    from refersat.models import zoo

    rows = [(_card(name), _here(name)) for name in zoo.names()]
    if as_json:
        _print_json(
            [
                {"name": card.name, "here": here == "yes", "summary": card.summary, "licence": card.licence}
                for card, here in rows
            ]
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "here", "what it is", "licence of the weights", box=None, pad_edge=False)
    for card, here in rows:
        table.add_row(card.name, here, card.summary, card.licence or "not known")
    Console().print(table)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A model's name, or a model folder.", metavar="NAME|FOLDER")],
    as_json: AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the files with their recorded sha256 digests.")
    ] = False,
) -> None:
    """Show the card of a model: source, licence, data, numbers."""
    card, folder = _card(name), _folder(name)
    if verify:
        _verify(name, folder)
    if as_json:
        _print_json(card.as_dict() | {"folder": str(folder) if folder else None})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, text in _lines(card, folder):
        table.add_row(Text(title), Text(text))
    Console().print(table)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A model's name.")]) -> None:
    """Download a model and keep it for `--model NAME`: converted to our layout, or a peer's files as they are."""
    from rich.console import Console

    from refersat.models import hub

    console = Console(stderr=True)
    folder = hub.fetch(name, report=lambda step: console.print(step, highlight=False))
    typer.echo(folder)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A model folder, released or ours.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="The folder to write; must not be there yet.", metavar="DST")],
) -> None:
    """Convert a released model folder to our layout, without the network."""
    from rich.console import Console

    from refersat.models import hub

    if not source.is_dir():
        raise UserError(f"{source} is not a folder")
    with Console(stderr=True).status(f"converting {source}"):
        hub.convert(source, target)
    typer.echo(target)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A model folder: runs/NAME/best of a training run, say.")],
    repository: Annotated[
        str, typer.Argument(help="OWNER/NAME on Hugging Face; made if missing.", metavar="OWNER/NAME")
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Send a model folder to Hugging Face: weights, configuration, tokenizer, and what is known about it.

    `hf auth login`, or HF_TOKEN, says who you are.
    """
    from rich.console import Console

    from refersat.models import publish

    console = Console(stderr=True)
    report = partial(console.print, highlight=False)
    typer.echo(publish.push(folder, repository, private=private, report=report))


@app.command()
def assemble(
    target: Annotated[Path, typer.Argument(help="The folder to write; must not be there yet.", metavar="DST")],
    grounder: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|NAME",
            help="What finds the box: a grounder's or Grounding DINO's folder, or any model (its mask's box).",
        ),
    ],
    sam: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="What makes the mask: SAM 2's or SAM's folder, as Transformers has it."),
    ],
    point: Annotated[bool, typer.Option(help="Give SAM a foreground point beside the box.")] = True,
    boundary: Annotated[bool, typer.Option(help="Let the boundary step improve SAM's mask.")] = True,
    presence_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="P", help="Score of the box from which the target counts as there."),
    ] = None,
) -> None:
    """Put a PSLG-SAM together from a grounder and a SAM, which stay where they are; DST then is a model folder.

    The options that the paper leaves open are fields of DST/pslg.json: see docs/how-to/pslg-sam.md.
    """
    from refersat.models.pslg.assemble import assemble as put_together

    put_together(
        target,
        grounder=grounder,
        sam=sam,
        use_point=point,
        use_boundary=boundary,
        presence_threshold=presence_threshold,
    )
    typer.echo(target)


def _card(name: str) -> ModelCard:
    """The card beside the weights, or else what the package knows."""
    from refersat.export.manifest import is_export, read_export
    from refersat.models.zoo import ModelCard, card, is_name

    if is_export(Path(name)) and not is_name(name):
        source = read_export(Path(name))["model"]["name"]
        raise UserError(f"{name} was exported from {source}: `refersat models info {source}` tells about that")
    folder = _folder(name)
    found = ModelCard.read(folder) if folder else None
    if found is not None:
        return found
    if folder is not None and not is_name(name):
        raise UserError(f"{folder} has no card.json: nothing is known about it")
    return card(name)


def _here(name: str) -> str:
    """Whether a model can run on this machine: yes, no, or what of it is there."""
    from refersat.models.pslg import SAM_FOLDER, is_pslg
    from refersat.models.pslg.folder import network_folders

    folder = _folder(name)
    if folder is not None and is_pslg(folder):
        try:
            network_folders(folder)
        except UserError:
            return f"{SAM_FOLDER} only"
    return "yes" if folder else "no"


def _folder(name: str) -> Path | None:
    """Where the model is on this machine; None when it is not."""
    from refersat.models import peers, zoo
    from refersat.models.pslg import is_pslg

    folder = zoo.folder_of(name) if zoo.is_name(name) else Path(name)
    return folder if (folder / "config.json").is_file() or peers.is_peer(folder) or is_pslg(folder) else None


def _verify(name: str, folder: Path | None) -> None:
    from refersat.models import store

    if folder is None:
        raise UserError(f"{name} is not on this machine: run `refersat models fetch {name}`")
    if not (folder / store.SUMS_FILE).is_file():
        raise UserError(f"{folder} has no {store.SUMS_FILE} to compare with")
    damaged = store.damaged_files(folder)
    if damaged:
        raise UserError(f"{folder}: {', '.join(damaged)} differ from {store.SUMS_FILE}: fetch or copy the model again")


def _lines(card: ModelCard, folder: Path | None) -> list[tuple[str, str]]:
    """Titles and texts of a card, in reading order."""
    sources = [str(source) for source in (card.source, *card.parts.values()) if source] or ["comes with the package"]
    lines = [
        ("name", card.name),
        ("what it is", card.summary),
        ("licence", card.licence or "not known"),
        ("data", card.data),
        ("paper", card.paper),
        *(("source", source) for source in sources),
        ("commit", card.revision),
        ("folder", str(folder) if folder else f"not here: refersat models fetch {card.name}"),
        ("published", _numbers(card.published)),
        ("measured here", _numbers(card.measured) or "not yet"),
        *card.training.items(),
        *(("note", note) for note in card.notes),
        *(("sha256", f"{digest}  {file}") for file, digest in card.sha256.items()),
    ]
    return [(title, str(text)) for title, text in lines if text]


def _numbers(numbers: Numbers) -> str:
    return "\n".join(
        f"{data}: " + ", ".join(f"{metric} {value}" for metric, value in values.items())
        for data, values in numbers.items()
    )


def _print_json(content: Any) -> None:
    import json

    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
