"""An evaluation from its request to the files in its folder, alone or with other processes, at one go or in several."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.errors import UserError
from refersat.evaluation.cases import collect_cases
from refersat.evaluation.group import Group, process_group
from refersat.evaluation.progress import Progress
from refersat.evaluation.provenance import ModelFacts, pins, provenance_of
from refersat.evaluation.report import RESULT_FILES, write_report
from refersat.evaluation.rows import Evaluation
from refersat.output import output_folder

if TYPE_CHECKING:
    from refersat.evaluation.reading import Question
    from refersat.evaluation.request import Request

Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""From a title and a number of steps to a progress bar; what it gives is called after each step."""


@dataclass(frozen=True)
class Finished:
    """A complete evaluation, its numbers as in `metrics.json`, and the files that were written."""

    evaluation: Evaluation
    metrics: dict[str, Any]
    files: tuple[Path, ...]


def evaluate_into(
    out: Path, request: Request, *, bar: Bar, workers: int = 1, overwrite: bool = False
) -> Finished | None:
    """Do what is left of an evaluation and write its report; None in all processes of a launcher but the main one.

    Args:
        out: the folder, made if missing. What an earlier run of the same evaluation did there is not done again.
        request: the evaluation.
        bar: shows the progress, in the main process.
        workers: processes to start on this machine; 1 works in this one.
        overwrite: start anew in place of whatever evaluation is in `out`.

    Raises:
        UserError: an option makes no sense, model or data cannot be read, `out` holds another evaluation, or another
            process is writing to it.
    """
    with process_group() as group:
        if workers > 1 and group.count > 1:
            raise UserError("--workers is for a single process: torchrun and accelerate launch start their own")
        if group.is_main:
            with output_folder(out), Progress(out) as progress:
                return _lead(progress, request, group, bar, workers=workers, overwrite=overwrite)
        _follow(out, request, group)
        return None


def _lead(progress: Progress, request: Request, group: Group, bar: Bar, *, workers: int, overwrite: bool) -> Finished:
    """The main process: decides what is to be done, does its part, and writes the report."""
    questions = request.questions()
    protocols = request.protocols
    segmenter = request.segmenter(place=group.local)
    facts = ModelFacts.of(segmenter, request.model, batch_size=request.batch_size, threshold=request.threshold)
    pinned = pins(facts, questions, protocols) | {"save_masks": request.save_masks}
    out = progress.folders.out
    if overwrite:
        progress.clear()
        for name in RESULT_FILES:
            (out / name).unlink(missing_ok=True)
    done = {row.number for row in progress.rows(pinned)}
    units = request.units(questions, segmenter)
    left = [number for number, unit in enumerate(units) if any(question.number not in done for question in unit)]
    group.share((pinned, left))

    mine = left[group.index :: group.count]
    total = sum(len(units[number]) for number in mine)
    with bar(_title(segmenter.name, questions.names, len(questions.questions) - total, group), total) as step:

        def on_unit(samples: int) -> None:
            for _ in range(samples):
                step()

        if workers > 1 and len(left) > 1:
            from refersat.evaluation.workers import run_workers

            del segmenter  # the workers have their own, and memory may hold no further one
            run_workers(request, left, workers=min(workers, len(left)), out=out, pins=pinned, on_unit=on_unit)
        else:
            chosen = [units[number] for number in mine]
            request.work(segmenter, chosen, out=out, process=group.index, pins=pinned, on_unit=on_unit)
    group.wait()

    rows = progress.rows(pinned)
    assert len(rows) == len(questions.questions), "every sample has its row"
    evaluation = Evaluation(tuple(protocol.name for protocol in protocols), rows)
    provenance = provenance_of(facts, questions, protocols, processes=max(workers, group.count))
    cases = collect_cases(progress.folders, rows, protocols[0].name)
    metrics, files = write_report(out, evaluation, provenance, cases)
    return Finished(evaluation, metrics, files)


def _follow(out: Path, request: Request, group: Group) -> None:
    """Another process of a launcher: does its part."""
    questions = request.questions()
    segmenter = request.segmenter(place=group.local)
    units: list[list[Question]] = request.units(questions, segmenter)
    pinned, left = group.share(None)
    mine = [units[number] for number in left[group.index :: group.count]]
    request.work(segmenter, mine, out=out, process=group.index, pins=pinned, on_unit=lambda samples: None)
    group.wait()


def _title(model: str, names: tuple[str, ...], done: int, group: Group) -> str:
    others = f" (process 1 of {group.count})" if group.count > 1 else f" ({done} done before)" if done else ""
    return f"{model} on {', '.join(names)}{others}"
