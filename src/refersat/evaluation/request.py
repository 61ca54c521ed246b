"""What is to be evaluated, and one process's part of the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.evaluation.cases import CaseKeeper, mask_png
from refersat.evaluation.progress import Folders, ProgressWriter
from refersat.evaluation.protocol import Protocol, choose_protocols
from refersat.evaluation.questions import QuestionList, read_questions
from refersat.evaluation.run import answers, units_of
from refersat.output import write_file
from refersat.question import check_threshold

if TYPE_CHECKING:
    from refersat.evaluation.reading import Question
    from refersat.segmenter import Segmenter


@dataclass(frozen=True, kw_only=True)
class Request:
    """An evaluation as asked for on the command line.

    Attributes:
        model: name or folder.
        data: KIND:PATH of each data set.
        split: of every data set.
        protocol: name of the only protocol, None for all.
        threshold: probability above which a pixel is foreground, None for the model's own.
        batch_size: samples that the model answers at once, None for its own choice.
        limit: how many samples of each data set, None for all.
        device, dtype: as for `refersat.load`.
        save_masks: keep every answer's mask as well.
    """

    model: str
    data: tuple[str, ...]
    split: str = "all"
    protocol: str | None = None
    threshold: float | None = None
    batch_size: int | None = None
    limit: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    save_masks: bool = False

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols to count under, the first of which is the main one.

        Raises:
            UserError: no such protocol.
        """
        return choose_protocols(self.protocol)

    def questions(self) -> QuestionList:
        """The samples.

        Raises:
            UserError: the data cannot be read or has no masks, or an option makes no sense.
        """
        check_threshold(self.threshold)
        return read_questions(self.data, split=self.split, limit=self.limit)

    def segmenter(self, *, place: int = 0) -> Segmenter:
        """The model; processes of one machine, numbered by `place`, take its GPUs in turn.

        Raises:
            UserError: the model cannot be loaded.
        """
        import torch

        import refersat
        from refersat.export.manifest import is_export
        from refersat.models.identity import model_folder

        takes_gpus = self.device in ("auto", "cuda") and not is_export(model_folder(self.model))
        gpus = torch.cuda.device_count() if takes_gpus else 0
        device = f"cuda:{place % gpus}" if gpus > 1 else self.device
        return refersat.load(self.model, device=device, dtype=self.dtype)

    def units(self, questions: QuestionList, segmenter: Segmenter) -> list[list[Question]]:
        """All questions in the groups that the model answers together; the same in every process."""
        return units_of(questions.by_image(), segmenter, self.batch_size)

    def work(
        self,
        segmenter: Segmenter,
        units: Sequence[Sequence[Question]],
        *,
        out: Path,
        process: int,
        pins: dict[str, Any],
        on_unit: Callable[[int], None],
    ) -> None:
        """Answer units, and put their rows and pictures into the folder `out` of the evaluation, unit by unit.

        `on_unit` is told how many samples each had.

        Raises:
            UserError: an image or mask cannot be read, they are of different sizes, or the disk is full.
        """
        folders = Folders(out)
        writer = ProgressWriter(folders.progress, process, pins)
        keeper = CaseKeeper(self.protocols[0].name)
        stream = answers(
            segmenter, units, protocols=self.protocols, threshold=self.threshold, batch_size=self.batch_size
        )
        for unit in units:
            rows = []
            files: dict[Path, bytes] = {}
            for _ in unit:
                answer = next(stream)
                began = time.perf_counter()
                if (picture := keeper.picture(answer)) is not None:
                    files[folders.case(answer.row)] = picture
                if self.save_masks:
                    files[folders.mask(answer.row)] = mask_png(answer.result.mask)
                spent = answer.row.seconds
                spent = replace(spent, scoring=spent.scoring + time.perf_counter() - began)
                rows.append(replace(answer.row, seconds=spent))
            for path, content in files.items():
                path.parent.mkdir(exist_ok=True)
                write_file(path, content)
            writer.append(rows)  # last: a row says that everything about its sample is done
            on_unit(len(unit))
