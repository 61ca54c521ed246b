"""Names of models and what is known about each: source, licence, data, numbers.

A card says what was published and, apart from that, what was measured with this package. Nothing is filled in that
nobody checked: an empty field means that it is not known.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refersat.errors import UserError
from refersat.models import store
from refersat.models.peers import DETECTOR_FOLDER, GROUNDED_SAM2, MASKS_FOLDER, SAM3
from refersat.models.pslg import PSLG_FILE, SAM_FOLDER

BUILT_IN = "built-in"
BUILT_IN_PSLG = "built-in-pslg"
SHIPPED = (BUILT_IN, BUILT_IN_PSLG)
"""What lies in the package, once it has weights."""

PSLG_SAM = "pslg-sam"
CARD_FILE = "card.json"

Numbers = Mapping[str, Mapping[str, float]]
"""Data set and split -> metric -> value; IoU and precision in percent."""


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A folder of a model repository on Hugging Face.

    Attributes:
        repository: owner/name.
        folder: folder inside it; "" is the repository itself.
        revision: branch, tag or commit to ask for.
    """

    repository: str
    folder: str = ""
    revision: str = "main"

    def __str__(self) -> str:
        """For messages."""
        folder = f", folder {self.folder}" if self.folder else ""
        return f"{self.repository}{folder} on Hugging Face, revision {self.revision}"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What there is to know about a model.

    Attributes:
        name: as given to `--model`.
        summary: one sentence.
        licence: of the weights.
        data: what it was trained on, and that data's licence.
        paper: where it is described.
        source: where the weights come from; None when they ship with the package or were trained locally.
        parts: of what is kept as it was released: subfolder -> where its files come from; "" is the folder itself.
            Their revisions are the commits, once they are fetched.
        revision: the commit of `source` that was fetched; "" before that.
        sha256: file name -> digest, of the files as they lie on this machine.
        published: numbers of its authors.
        measured: numbers of this package's `refersat evaluate`.
        training: command, time, machine and so on, for a model trained with this package.
        notes: what a user should know.
    """

    name: str
    summary: str = ""
    licence: str = ""
    data: str = ""
    paper: str = ""
    source: HubSource | None = None
    parts: Mapping[str, HubSource] = field(default_factory=dict)
    revision: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    published: Numbers = field(default_factory=dict)
    measured: Numbers = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    def save(self, folder: Path) -> None:
        """Write `card.json` into a folder."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / CARD_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelCard | None:
        """The card of a model folder, or None when it has none. Fields of later versions are left out.

        Raises:
            UserError: there is one, but it is not a card.
        """
        path = folder / CARD_FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {item.name for item in dataclasses.fields(cls)}
            values = {name: value for name, value in content.items() if name in known}
            if values.get("source") is not None:
                values["source"] = HubSource(**values["source"])
            values["parts"] = {name: HubSource(**part) for name, part in values.get("parts", {}).items()}
            return cls(**values | {"notes": tuple(values.get("notes", ()))})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a model card: {' '.join(str(error).split())}") from error


_CONFIDENCE = "The score comes from the mask's own confidence: the model never saw phrases that name nothing."
_ABSENT = "It answers with a mask for phrases that name nothing in the image, too."
_RANDOM_WEIGHTS = "Tested with small random weights in its format; nobody ran the released weights for this card."
_NO_LICENCE = "The authors state no licence for these weights: ask them before any use beyond research."
_RS2SAM2 = "Rong et al., RS2-SAM2, AAAI 2026, arXiv 2503.07266"

TOKENIZER_SOURCE = HubSource(repository="YxZhang/evf-sam2")
"""Holds BEiT-3's SentencePiece model, which every released model here uses; for sources that lack it."""

_FETCHED = (
    ModelCard(
        name="rs2sam2-rrsisd",
        summary="RS2-SAM 2 (Hiera large, BEiT-3 large; 935 M parameters) trained on RRSIS-D.",
        licence="none stated",
        data="RRSIS-D, training split (images of DIOR); starts from SAM 2 and BEiT-3.",
        paper=_RS2SAM2,
        source=HubSource(repository="ReeF2025/RS2-SAM2", folder="rrsisd"),
        published={
            "RRSIS-D test": {
                "mIoU": 66.72,
                "oIoU": 78.99,
                "Pr@0.5": 77.56,
                "Pr@0.6": 72.34,
                "Pr@0.7": 61.76,
                "Pr@0.8": 47.92,
                "Pr@0.9": 29.73,
            }
        },
        notes=(_NO_LICENCE, _CONFIDENCE, _ABSENT),
    ),
    ModelCard(
        name="rs2sam2-refsegrs",
        summary="RS2-SAM 2 (Hiera large, BEiT-3 large; 935 M parameters) trained on RefSegRS.",
        licence="none stated",
        data="RefSegRS, training split (CC-BY-4.0); starts from SAM 2 and BEiT-3.",
        paper=_RS2SAM2,
        source=HubSource(repository="ReeF2025/RS2-SAM2", folder="refseg"),
        published={
            "RefSegRS test": {
                "mIoU": 73.90,
                "oIoU": 80.87,
                "Pr@0.5": 84.31,
                "Pr@0.6": 79.42,
                "Pr@0.7": 70.89,
                "Pr@0.8": 55.70,
                "Pr@0.9": 21.19,
            }
        },
        notes=(_NO_LICENCE, _CONFIDENCE, _ABSENT),
    ),
    ModelCard(
        name="evf-sam2",
        summary="EVF-SAM 2 (Hiera large, BEiT-3 large; 898 M parameters) for everyday photos: a baseline.",
        licence="",
        data="RefCOCO, RefCOCO+, RefCOCOg and RefCLEF: no aerial images.",
        paper="Zhang et al., EVF-SAM, arXiv 2406.20076",
        source=TOKENIZER_SOURCE,
        notes=(
            "Never trained on aerial images: expect much less of it than on photos.",
            "Its licence was not checked for this card: see its repository.",
            "Its authors feed the union encoder a bicubic view with mean and deviation 0.5; here it gets the view of "
            "RS2-SAM 2 (bilinear, ImageNet statistics), so answers differ from theirs.",
            _CONFIDENCE,
            _ABSENT,
        ),
    ),
    ModelCard(
        name=GROUNDED_SAM2,
        summary="Grounding DINO (Swin base) finds the best box for the phrase, SAM 2.1 (Hiera large) its mask: a peer.",
        licence="Apache-2.0 (both)",
        data="Grounding DINO: COCO, Objects365, GoldG, Cap4M, OpenImages, ODinW-35 and RefCOCO, as its authors list "
        "them; SAM 2.1: mainly Meta's SA-1B and SA-V.",
        paper="Liu et al., Grounding DINO, arXiv 2303.05499; Ravi et al., SAM 2, arXiv 2408.00714",
        parts={
            DETECTOR_FOLDER: HubSource(repository="IDEA-Research/grounding-dino-base"),
            MASKS_FOLDER: HubSource(repository="facebook/sam2.1-hiera-large"),
        },
        notes=(
            "Not trained for aerial images: a baseline that knows objects in general.",
            "One box for each phrase: of a group that a phrase names, it finds one member.",
            "The score is the best box's; from 0.25 on the target counts as there.",
            "Both parts compute in float32, whatever --dtype says: half precision would move the boxes.",
            _RANDOM_WEIGHTS,
        ),
    ),
    ModelCard(
        name=SAM3,
        summary="SAM 3: every instance of what a noun phrase names, joined into one mask: a peer.",
        licence="SAM License (Meta's own)",
        data="Meta's SA-Co: images and videos with the names of things that are there, and of such that are not.",
        paper="Carion et al., SAM 3, arXiv 2511.16719",
        parts={"": HubSource(repository="facebook/sam3")},
        notes=(
            "Its weights are gated: ask for access on its page on Hugging Face, and set HF_TOKEN to fetch them.",
            "Made for short noun phrases: it marks all instances; it was not trained to tell things of a kind apart.",
            "The score is its presence head's; the target counts as there when an instance scores above 0.5.",
            _RANDOM_WEIGHTS,
        ),
    ),
    ModelCard(
        name=PSLG_SAM,
        summary="PSLG-SAM: a grounder of yours finds the box, SAM 2.1 (Hiera large) its mask, untrained for the task.",
        licence="Apache-2.0 (SAM 2.1); the grounder's is yours to know",
        data="SAM 2.1: mainly Meta's SA-1B and SA-V; no aerial data. The grounder: what you train it on.",
        paper="Li et al., PSLG-SAM, arXiv 2506.10503; Ravi et al., SAM 2, arXiv 2408.00714",
        parts={SAM_FOLDER: HubSource(repository="facebook/sam2.1-hiera-large")},
        published={"RRSIS-D test": {"mIoU": 70.61}, "RRSIS-M test": {"mIoU": 67.04}},
        notes=(
            "Fetching brings SAM alone: nobody published weights of the grounder. Train one, or take Grounding DINO, "
            f'and name its folder in {PSLG_FILE} beside this card as "grounder". Without one it does not run.',
            "The published numbers are of the paper's own system, with SAM's mask decoder fine-tuned; about 67.4 on "
            "RRSIS-D without. Neither its weights nor its code are public; what it leaves open is chosen here.",
            "One box for each phrase: of a group that a phrase names, it finds one member, or one box around all.",
            "The score is the grounder's; all computes in float32, whatever --dtype says.",
            _RANDOM_WEIGHTS,
        ),
    ),
)


def names() -> list[str]:
    """The models that this version can run, the built-in ones first."""
    return [*(name for name in SHIPPED if _is_shipped(name)), *(card.name for card in _FETCHED)]


def card(name: str) -> ModelCard:
    """The card of a model by its name; that of the built-in model lies beside its weights.

    Raises:
        UserError: no such name, or one that this version cannot run yet.
    """
    if name in SHIPPED and _is_shipped(name):
        return ModelCard.read(folder_of(name)) or ModelCard(name=name)
    for known in _FETCHED:
        if known.name == name:
            return known
    if name in SHIPPED:
        raise UserError(
            f"{name} is planned: this version holds no weights of it; there are: {', '.join(names())}. A PSLG-SAM from "
            f"networks of your own: `refersat models assemble --help`"
        )
    raise UserError(f"no model is called {name}; there are: {', '.join(names())}")


def is_name(text: str) -> bool:
    """Whether the text is the name of a model, be it one that is only planned."""
    return text in names() or text in SHIPPED


def folder_of(name: str) -> Path:
    """Where the model of a name lies: inside the installed package, or where it is kept once it is fetched."""
    return Path(__file__).parent.parent / "assets" / name if name in SHIPPED else store.model_folder(name)


def built_in_folder() -> Path:
    """Where the built-in model lies inside the installed package."""
    return folder_of(BUILT_IN)


def _is_shipped(name: str) -> bool:
    return name == BUILT_IN or folder_of(name).is_dir()
