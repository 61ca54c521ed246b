"""Where and in which number format a model runs."""

from __future__ import annotations

import torch

from refersat.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

INT8 = "int8"
"""Weights in 8 bits, which is no format to compute in: that is then as for "auto"."""


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


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format to compute in; "auto" takes bfloat16 on GPUs and CPUs that compute in it, else float32.

    Raises:
        UserError: no such format.
    """
    if name in DTYPES:
        return DTYPES[name]
    if name not in ("auto", INT8):
        raise UserError(f"unknown dtype {name!r}: give auto, {', '.join(DTYPES)} or {INT8}")
    return torch.bfloat16 if computes_in_bfloat16(device) else torch.float32


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether it is known to be faster there than float32: on GPUs of NVIDIA and processors of Intel and AMD."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return multiplies_blocks() or _processor_has("avx512_bf16", older="_is_avx512_bf16_supported")


def multiplies_blocks() -> bool:
    """Whether the processor has instructions that multiply whole blocks in bfloat16 (Intel's AMX)."""
    return _processor_has("amx_bf16", older="_is_amx_tile_supported")


def _processor_has(instructions: str, *, older: str) -> bool:
    """`older` is how PyTorch before 2.11 is asked."""
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get(instructions))
    return bool(getattr(torch.cpu, older)())
