"""Where and in which number format a model runs."""

from __future__ import annotations

import torch

from refersat.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LARGE_WEIGHTS = 400_000_000  # bytes, 200 million parameters in half precision: from here on bfloat16 pays on a CPU


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        UserError: no such device, or this machine or this PyTorch lacks it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise UserError(f"unknown device {name!r}: give auto, cpu, cuda or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        reason = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no usable NVIDIA GPU"
        raise UserError(f"device cuda is not available ({reason}): use --device cpu or auto")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UserError(f"there is no device {name}: this machine has {torch.cuda.device_count()} GPU(s), from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps is not available: use --device cpu or auto")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device, *, large: bool) -> torch.dtype:
    """The number format of that name; "auto" takes bfloat16 where it is fast, else float32.

    That is on CUDA GPUs that compute in it, and for `large` models (files above `LARGE_WEIGHTS`) on CPUs that do.

    Raises:
        UserError: no such format.
    """
    if name in DTYPES:
        return DTYPES[name]
    if name != "auto":
        raise UserError(f"unknown dtype {name!r}: give auto, {' or '.join(DTYPES)}")
    fast = computes_in_bfloat16(device) and (device.type == "cuda" or large)
    return torch.bfloat16 if fast else torch.float32


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether it is known to be faster there than float32: on GPUs of NVIDIA and processors of Intel and AMD."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # before PyTorch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
