"""Fetch released weights, convert them to our layout, keep them with their digests.

Our layout is that of Transformers' `save_pretrained` (config.json, model.safetensors) with sentencepiece.bpe.model,
card.json and SHA256SUMS beside them. Peers, and the SAM of a PSLG-SAM, are not converted: their files are kept as they
are, with the latter two.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import posixpath
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from refersat.errors import UserError
from refersat.models import peers, store, zoo
from refersat.models.pslg import PSLG_FILE, is_pslg
from refersat.models.zoo import HubSource, ModelCard
from refersat.text.tokenizer import TOKENIZER_FILE

Select = Callable[[Sequence[str]], list[str]]
"""From the names of all files of a repository to those that are needed."""

_DESCRIPTIONS = ("config.json", TOKENIZER_FILE, "beit3.spm")
_PART_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)
"""File names of weights, better kind first: a repository that has both is read in one kind only."""


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository on this machine, below `folder` as they lie in it, at one commit."""

    folder: Path
    commit: str


Download = Callable[[str, str, Select], Snapshot]
"""(repository, revision, select) -> the selected files. Raises UserError when they cannot be had."""


def fetch(name: str, *, download: Download | None = None, report: Callable[[str], None] = lambda step: None) -> Path:
    """Download a model, convert it unless it is a peer, and keep it in the store, in place of an older copy.

    Args:
        name: a model of `zoo.names()` with a source.
        download: gets the files; from Hugging Face by default (which honours HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN).
        report: is told what happens next.

    Returns:
        The model's folder.

    Raises:
        UserError: there is nothing to fetch, the network is away, or what came is not the model.
    """
    card = zoo.card(name)
    download = download or from_hugging_face
    if card.parts:
        return _fetch_parts(card, download, report)
    source = card.source
    if source is None:
        raise UserError(f"{name} comes with the package: there is nothing to fetch")
    report(f"downloading {source}")
    try:
        snapshot = download(source.repository, source.revision, lambda files: select_files(files, source.folder))
        tokenizer = _tokenizer(snapshot.folder / source.folder, download)
    except UserError as error:
        raise UserError(f"cannot fetch {name}: {error}; {_by_hand(source)}") from error
    report("converting and computing sha256")
    card = dataclasses.replace(card, revision=snapshot.commit)
    target = store.model_folder(name)
    convert(snapshot.folder / source.folder, target, card=card, tokenizer=tokenizer, overwrite=True)
    return target


def _fetch_parts(card: ModelCard, download: Download, report: Callable[[str], None]) -> Path:
    """Download the parts of a model and keep their files as they are."""
    folders: dict[str, Path] = {}
    pinned: dict[str, HubSource] = {}
    for part, source in card.parts.items():
        report(f"downloading {source}")
        select = partial(select_files, folder=source.folder, descriptions=_PART_DESCRIPTIONS)
        try:
            snapshot = download(source.repository, source.revision, select)
        except UserError as error:
            raise UserError(f"cannot fetch {card.name}: {error}; {_parts_by_hand(card)}") from error
        folders[part] = snapshot.folder / source.folder
        pinned[part] = dataclasses.replace(source, revision=snapshot.commit)
    report("copying and computing sha256")
    target = store.model_folder(card.name)
    with store.replaced_at_once(target) as new:
        for part, folder in folders.items():
            (new / part).mkdir(exist_ok=True)
            # A cache may hold more than was asked for now.
            for name in select_files([file.name for file in folder.iterdir()], "", _PART_DESCRIPTIONS):
                shutil.copyfile(folder / name, new / part / name)
        if card.name == zoo.PSLG_SAM:
            _keep_own_files(target, new, card)
            report(f"SAM is here, a grounder is not part of it: name the folder of one in {target / PSLG_FILE}")
        else:
            peers.check(new)
        dataclasses.replace(card, parts=pinned, sha256=store.digests(new)).save(new)
        store.write_sums(new)
    return target


def _keep_own_files(old: Path, new: Path, card: ModelCard) -> None:
    """What the user added to a PSLG-SAM that was fetched before: its grounder, and what was chosen."""
    fetched = {*card.parts, zoo.CARD_FILE, store.SUMS_FILE}
    for path in old.iterdir() if old.is_dir() else ():
        if path.name not in fetched:
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, new / path.name)
    if not is_pslg(new):
        from refersat.models.pslg.folder import PslgDescription

        PslgDescription().save(new)


def convert(
    source: Path,
    target: Path,
    *,
    card: ModelCard | None = None,
    tokenizer: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model folder, ours or a released one, as a folder of ours; number formats stay as they are.

    Args:
        source: the folder to read.
        target: the folder to write.
        card: goes along as card.json; the source's own card when None.
        tokenizer: the SentencePiece model to use, for a source that lacks one.
        overwrite: whether to replace `target` if it is there, once the new one is whole.

    Raises:
        UserError: the source is not a whole model, or the target is there or cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from refersat.models.folder import CONFIG_FILE
    from refersat.models.loading import read_folder
    from refersat.models.official import joined

    if target.exists() and not overwrite:
        raise UserError(f"{target} is already there: give a new folder")
    if peers.is_peer(source) or is_pslg(source):
        raise UserError(f"{source} needs no conversion: it runs as it is, with --model {source}")
    read = read_folder(source, tokenizer=tokenizer)
    card = card or ModelCard.read(source) or ModelCard(name=target.name)
    # Mapped, not read: the writer walks through the files' pages.
    mapped = read.checkpoint.mapped()
    state = {name: joined([mapped[part] for part in parts]).contiguous() for name, parts in read.sources.items()}
    with store.replaced_at_once(target) as new:
        config = read.config
        config.architectures = ["RS2Sam2Model"]
        config.to_json_file(new / CONFIG_FILE, use_diff=False)
        try:
            save_file(state, new / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise UserError(f"cannot write {target}: {error}") from error
        read.tokenizer.save(new)
        dataclasses.replace(card, sha256=store.digests(new)).save(new)
        store.write_sums(new)


def select_files(files: Sequence[str], folder: str, descriptions: Sequence[str] = _DESCRIPTIONS) -> list[str]:
    """The files of a folder that make a model: description, tokenizer, and weights in one kind.

    Args:
        files: the names of all files of a repository.
        folder: the folder to look into, "" for the repository itself.
        descriptions: the names of all files that may be needed, but for the weights.

    Raises:
        UserError: there is no config.json or there are no weights.
    """
    inside = {posixpath.basename(file): file for file in files if posixpath.dirname(file) == folder}
    weights: list[str] = []
    for kind in _WEIGHTS:
        weights = weights or [name for name in inside if any(fnmatch.fnmatchcase(name, pattern) for pattern in kind)]
    if "config.json" not in inside or not weights:
        where = f"the folder {folder}" if folder else "it"
        raise UserError(f"{where} holds no model (no {'weights' if 'config.json' in inside else 'config.json'})")
    return [inside[name] for name in sorted([*weights, *(name for name in descriptions if name in inside)])]


def from_hugging_face(repository: str, revision: str, select: Select) -> Snapshot:
    """Download from Hugging Face, or take what its cache holds when HF_HUB_OFFLINE is set."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        if constants.HF_HUB_OFFLINE:
            folder = snapshot_download(repository, revision=revision, local_files_only=True)
            return Snapshot(Path(folder), Path(folder).name)
        info = HfApi().model_info(repository, revision=revision)
        commit = info.sha or revision
        files = select([file.rfilename for file in info.siblings or ()])
        folder = snapshot_download(repository, revision=commit, allow_patterns=files)
        return Snapshot(Path(folder), commit)
    except UserError:
        raise
    except GatedRepoError as error:
        raise UserError(
            f"{repository} is gated: ask for access on its page on Hugging Face, then set HF_TOKEN to a token of yours"
        ) from error
    except Exception as error:  # its HTTP library, whose errors come through, changes with its versions
        raise UserError(f"{repository} is out of reach ({' '.join(str(error).split())})") from error


def _tokenizer(folder: Path, download: Download) -> Path | None:
    """None when the folder has a tokenizer; else the file of the repository that is known to hold the same one."""
    if any((folder / name).is_file() for name in (TOKENIZER_FILE, "beit3.spm")):
        return None
    other = zoo.TOKENIZER_SOURCE
    snapshot = download(other.repository, other.revision, lambda files: [TOKENIZER_FILE])
    return snapshot.folder / TOKENIZER_FILE


def _by_hand(source: HubSource) -> str:
    return (
        "to carry it by hand, put config.json, the weights (*.safetensors, or *.bin, with their index) and "
        f"{TOKENIZER_FILE} of {source} into one folder and give that: --model FOLDER"
    )


def _parts_by_hand(card: ModelCard) -> str:
    places = " and ".join(
        f"{source} into {'/'.join(filter(None, ['FOLDER', part]))}" for part, source in card.parts.items()
    )
    use = "give that to `refersat models assemble`" if card.name == zoo.PSLG_SAM else "give that: --model FOLDER"
    return f"to carry it by hand, put all *.json, *.txt and *.safetensors files of {places}, and {use}"
