"""Send a model folder to a model repository on Hugging Face: all that runs it, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from refersat.errors import UserError
from refersat.models import peers, store, zoo
from refersat.models.folder import read_description, read_json
from refersat.models.identity import model_files
from refersat.models.pslg import is_pslg
from refersat.models.with_tokenizer import TOKENIZER_FILES

README = "README.md"
_FACTS_FILE = "training.json"
_SEGMENTER, _GROUNDER = "rs2sam2", "refersat-grounder"
_BESIDE = (zoo.CARD_FILE, store.SUMS_FILE, README, "LICENSE", "NOTICE")
"""What goes along where it is there, beside weights, configuration, tokenizer and the facts of training."""

_HEAD = """\
---
library_name: refersat
tags:
- remote-sensing
- referring-segmentation
---
"""

_USE = """\
```console
$ pip install refersat
$ hf download {repository} --local-dir {name}
$ refersat {command}
```
"""


def push(
    folder: Path, repository: str, *, private: bool = False, report: Callable[[str], None] = lambda step: None
) -> str:
    """Make the repository if it is not there, and put the model into it; a repository's own README stays.

    Args:
        folder: of a model of ours, a grounder included, as training makes it.
        repository: owner/name.
        private: whether a new repository is.
        report: is told what happens next.

    Returns:
        The address of the commit.

    Raises:
        UserError: the folder is no whole model of ours, or Hugging Face refuses or is out of reach.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    files = files_to_push(folder)
    api = HfApi()
    try:
        report(f"sending {len(files)} files to {repository}")
        repository = api.create_repo(repository, private=private, exist_ok=True).repo_id
        operations = [CommitOperationAdd(name, folder / name) for name in files]
        if README not in files and not api.file_exists(repository, README):
            operations.append(CommitOperationAdd(README, readme(folder, repository).encode()))
        return str(api.create_commit(repository, operations, commit_message="Model by refersat").commit_url)
    except Exception as error:  # its HTTP library, whose errors come through, changes with its versions
        raise UserError(
            f"cannot send the model to {repository}: {' '.join(str(error).split())} (`hf auth login` or HF_TOKEN says "
            "who you are; the name is OWNER/NAME)"
        ) from error


def files_to_push(folder: Path) -> list[str]:
    """The names of a model folder's files that are its model, or tell what it is; nothing else that lies there.

    Raises:
        UserError: it is no model folder, not whole, or no model of ours.
    """
    if is_pslg(folder) or peers.is_peer(folder):
        raise UserError(f"{folder} is put together from models of others: push a folder that training made")
    if _kind(folder) not in (_SEGMENTER, _GROUNDER):
        raise UserError(
            f"{folder} holds a model as others released it: `refersat models convert` makes one of ours of it"
        )
    weights, descriptions = model_files(folder)
    if not any(name in descriptions for name in TOKENIZER_FILES):
        raise UserError(f"{folder} lacks its tokenizer: nobody could run what is sent")
    beside = {name for name in _BESIDE if (folder / name).is_file()}
    return sorted({*weights, *descriptions, *beside})


def readme(folder: Path, repository: str) -> str:
    """A first README: what the model is, as far as its folder tells, and how it is run."""
    name = repository.rpartition("/")[2]
    card, facts = zoo.ModelCard.read(folder), _facts(folder)
    command = f'predict IMAGE -t "all ships" --model {name}'
    if _kind(folder) == _GROUNDER:
        command = f"models assemble FOLDER --grounder {name} --sam SAM"
    lines = [_HEAD, f"# {name}", ""]
    if card is not None and card.summary:
        lines += [card.summary, ""]
    if facts:
        lines += [_told(facts), ""]
    return "\n".join(lines) + "\n" + _USE.format(repository=repository, name=name, command=command)


def _told(facts: Mapping[str, Any]) -> str:
    recipe, scores = facts.get("recipe", {}), facts.get("scores", {})
    data = recipe.get("data", {})
    sources = data.get("train") or [data.get("annotations")]
    told = (
        f"Trained by refersat {facts.get('refersat')} with the recipe `{recipe.get('name')}` on "
        f"{', '.join(map(str, sources))}; `{_FACTS_FILE}` says the rest."
    )
    if "mIoU" in scores:
        told += f" On {scores.get('count')} validation phrases it had a mIoU of {scores['mIoU']:.2f}."
    return told


def _facts(folder: Path) -> Mapping[str, Any]:
    return read_json(folder / _FACTS_FILE) if (folder / _FACTS_FILE).is_file() else {}


def _kind(folder: Path) -> Any:
    return read_description(folder).get("model_type")
