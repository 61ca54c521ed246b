"""`refersat data`: work on data sets."""

from __future__ import annotations

import typer

from refersat.cli.data.generate import generate
from refersat.cli.data.preview import preview
from refersat.cli.data.stats import stats
from refersat.cli.data.verify import verify

app = typer.Typer(help="Verify, describe, show and generate data sets.", no_args_is_help=True)
app.command("verify", short_help="Is a data set whole, as published, and free of leaks?")(verify)
app.command("stats", short_help="Sizes, categories, phrases and positions, as a table and a page.")(stats)
app.command("preview", short_help="A picture of some samples with their phrases.")(preview)
app.command("generate", short_help="Phrases and masks for images whose objects are outlined.")(generate)


@app.callback()
def data() -> None:
    """Verify, describe, show and generate data sets."""
