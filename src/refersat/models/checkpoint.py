"""Weights on disk: whole or sharded, safetensors or pickled; listed first, then read a few hundred megabytes at a time.

Pickled files are opened with `weights_only`, which builds tensors and nothing else: a hostile file is refused, not
executed. Files are memory-mapped, and a mapping lives no longer than the group of tensors that is read from it.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

GROUP_BYTES = 256 * 2**20
"""How much is read at once: the memory that loading needs on top of the model itself."""

_STEMS = ("model.safetensors", "pytorch_model.bin")
"""File names of Transformers folders, best first; sharded ones have an index `<name>.index.json`."""


@dataclass(frozen=True)
class Entry:
    """One tensor on disk: its file, shape and size in bytes."""

    file: Path
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one or more files, by name."""

    entries: Mapping[str, Entry]

    @classmethod
    def find(cls, folder: Path) -> Checkpoint:
        """The weights of a Transformers folder: whole or sharded, safetensors before pickled.

        Raises:
            UserError: there are none, a shard is missing, or a file is damaged.
        """
        for stem in _STEMS:
            index = folder / f"{stem}.index.json"
            if index.is_file():
                return cls.open(_shards(index))
            if (folder / stem).is_file():
                return cls.open([folder / stem])
        raise UserError(
            f"{folder} holds no weights: expected one of {', '.join(_STEMS)}, or its shards with their index"
        )

    @classmethod
    def open(cls, files: Collection[Path]) -> Checkpoint:
        """List the tensors of the files without reading their values."""
        entries: dict[str, Entry] = {}
        for file in files:
            for name, (shape, size) in (_list_safetensors if _is_safetensors(file) else _list_pickled)(file).items():
                if name in entries:
                    raise UserError(f"{name} is in two weight files, {entries[name].file.name} and {file.name}")
                entries[name] = Entry(file, shape, size)
        return cls(entries)

    def mapped(self) -> dict[str, Tensor]:
        """All tensors as views of the mapped files: they take memory when and while they are looked at."""
        by_file: dict[Path, list[str]] = {}
        for name, entry in self.entries.items():
            by_file.setdefault(entry.file, []).append(name)
        return {name: tensor for file, names in by_file.items() for name, tensor in _read(file, names).items()}

    def groups(self, names: Collection[str]) -> Iterator[dict[str, Tensor]]:
        """Read the named tensors, file by file, in groups of about `GROUP_BYTES`.

        The tensors are views of a mapped file: copy what is to outlive the group, and let go of the group.
        """
        wanted = set(names)
        by_file: dict[Path, list[str]] = {}
        for name, entry in self.entries.items():
            if name in wanted:
                by_file.setdefault(entry.file, []).append(name)
        for file, members in by_file.items():
            group: list[str] = []
            size = 0
            for name in members:
                if group and size + self.entries[name].size > GROUP_BYTES:
                    yield _read(file, group)
                    group, size = [], 0
                group.append(name)
                size += self.entries[name].size
            yield _read(file, group)


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """All tensors of one file (.safetensors, or a pickled .pt, .pth, .bin, with or without a top-level key "model").

    The tensors are memory-mapped where the file's format allows it.

    Raises:
        UserError: the file is missing, damaged, or holds anything but tensors.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"no weight file {path}")
    checkpoint = Checkpoint.open([path])
    return _read(path, list(checkpoint.entries))


def _is_safetensors(file: Path) -> bool:
    return file.suffix == ".safetensors"


def _shards(index: Path) -> list[Path]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        outside = [name for name in shards if Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of weight shards: fetch it again") from error
    if outside:
        raise UserError(f"{index} names shards outside its folder: {', '.join(outside)}")
    missing = [name for name in shards if not (index.parent / name).is_file()]
    if missing:
        raise UserError(f"{index.parent} lacks {len(missing)} of {len(shards)} weight files: {', '.join(missing)}")
    return [index.parent / name for name in shards]


def _list_safetensors(file: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    from safetensors import SafetensorError, safe_open

    listing = {}
    try:
        with safe_open(file, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - not a mapping
                tensor = handle.get_tensor(name)
                listing[name] = (tuple(tensor.shape), tensor.numel() * tensor.element_size())
    except (SafetensorError, OSError) as error:
        raise _damaged(file, str(error)) from error
    return listing


def _list_pickled(file: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    return {
        name: (tuple(tensor.shape), tensor.numel() * tensor.element_size())
        for name, tensor in _load_pickled(file).items()
    }


def _read(file: Path, names: Collection[str]) -> dict[str, Tensor]:
    if _is_safetensors(file):
        from safetensors import safe_open

        with safe_open(file, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in names}
    tensors = _load_pickled(file)
    return {name: tensors[name] for name in names}


def _load_pickled(file: Path) -> Mapping[str, Tensor]:
    import torch

    from refersat.models.official import unwrap

    try:
        # Files from before PyTorch 1.6 are no zip archives and cannot be mapped.
        content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise UserError(
                f"{file} holds more than tensors; it could run its author's code, so it is refused"
            ) from error
        raise _damaged(file, "no pickled weights") from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, IndexError, AttributeError) as error:
        raise _damaged(file, str(error).split(". ")[0]) from error
    tensors = unwrap(content) if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise UserError(f"{file} is not a state dict: names with a tensor each")
    return tensors


def _damaged(file: Path, reason: str) -> UserError:
    line = " ".join(reason.split()) or "it ends too early"
    return UserError(f"{file} is damaged or not a weight file ({line}): fetch or copy it again")
