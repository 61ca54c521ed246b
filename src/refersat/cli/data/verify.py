"""`refersat data verify`: is a data set whole, as published, and free of leaks between its splits?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import Workers
from refersat.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from refersat.data.checks import Fault
    from refersat.data.verify import Verification

_COLUMNS = ("samples", "published", "images", "masks", "boxes only", "name nothing", "faults")


def verify(
    source: Annotated[str, typer.Argument(metavar="KIND:PATH", help="The data set, for example triplets:FOLDER.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with every fault, and nothing else.")] = False,
    show: Annotated[int, typer.Option(metavar="N", min=0, help="Faults of each kind to list.")] = 10,
    strict: Annotated[bool, typer.Option("--strict", help="Remarks, too, make the exit code 2.")] = False,
    workers: Workers = None,
) -> None:
    """Look at every image and mask of a data set: counts, faults, and leaks between its splits.

    The exit code is 2 if the data cannot be used as they are: files are missing or damaged, a mask is not as large as
    its image, a phrase or the truth is missing, an id stands twice. Whatever else is found is a remark.
    """
    from refersat.cli.progress import progress
    from refersat.data.sources import read_samples
    from refersat.data.verify import verify_samples

    data_set = read_samples(source, split="all", require_files=False)
    images = len({sample.image for sample in data_set.samples})
    with progress(f"verifying {data_set.name}", images) as on_image:
        found = verify_samples(data_set, kind=source.partition(":")[0], workers=workers, on_image=on_image)
    if as_json:
        import json

        typer.echo(json.dumps({"source": source, **found.as_dict()}, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        _print(Console(), found, show)
    if not found.usable or (strict and found.faults):
        raise UserError(f"{source} {_verdict(found)}")


def _print(console: Console, found: Verification, show: int) -> None:
    from rich.text import Text

    console.print(_counts_table(found))
    for kind, faults in found.by_kind().items():
        _print_kind(console, kind, faults, show)
    colour = "red" if not found.usable else "yellow" if found.faults else "green"
    console.print()
    console.print(Text(found.name, style=f"bold {colour}"), Text(_verdict(found)))
    if len(found.splits) < 2:
        console.print("One split only: leaks between splits were not looked for.", style="dim")


def _verdict(found: Verification) -> str:
    fatal = {kind: len(faults) for kind, faults in found.by_kind().items() if faults[0].fatal}
    remarks = sum(not fault.fatal for fault in found.faults)
    if fatal:
        return "cannot be used as it is: " + ", ".join(f"{count:,} {kind}" for kind, count in fatal.items())
    return f"can be used, with {remarks:,} remark{'s' * (remarks != 1)}" if remarks else "is in order"


def _counts_table(found: Verification) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(found.name, style="bold"), title_justify="left", box=None, header_style="dim", pad_edge=False
    )
    table.add_column("split")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for split, count in found.splits.items():
        of_split = [fault for fault in found.faults if split in (fault.split or "").split(", ")]
        published = "-" if count.published is None else f"{count.published:,}"
        same = count.published in (None, count.samples)
        table.add_row(
            Text(split, style="bold"),
            f"{count.samples:,}",
            Text(published, style="" if same else "yellow"),
            *(_number(number) for number in (count.images, count.masks, count.boxes_only, count.absent)),
            Text(_number(len(of_split)), style="red" if any(fault.fatal for fault in of_split) else "yellow"),
        )
    return table


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"


def _print_kind(console: Console, kind: str, faults: list[Fault], show: int) -> None:
    from rich.text import Text

    from refersat.data.checks import FAULTS

    level = Text("fault ", style="bold red") if faults[0].fatal else Text("remark", style="bold yellow")
    console.print()
    console.print(
        level, Text(f"{kind} x {len(faults):,}", style="bold"), Text(FAULTS[kind].meaning, style="dim"), soft_wrap=True
    )
    for fault in faults[:show]:
        line = Text("  ")
        if fault.file:
            line.append(fault.file, style="cyan").append(": ")
        line.append(fault.message)
        if fault.sample is not None or fault.split is not None:
            where = [fault.split or "", f"sample {fault.sample}" if fault.sample is not None else ""]
            line.append(f"  [{', '.join(filter(None, where))}]", style="dim")
        console.print(line, soft_wrap=True, highlight=False)
    if len(faults) > show:
        console.print(f"  and {len(faults) - show:,} more (--show {len(faults)}, or --json)", style="dim")
