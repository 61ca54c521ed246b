"""Measurements as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from refersat.device import INT8

GIGA = 1e9
GIB = 2**30


def show_machine(console: Console, machine: dict[str, Any]) -> None:
    """One line about where it was measured."""
    where = machine.get("gpu", f"{machine['cores']} cores of {machine['processor']}, {machine['threads']} threads")
    console.print(
        f"{where}; PyTorch {machine['torch']} ({machine['cpu_capability']}), refersat {machine['refersat']}, "
        f"{machine['date']}",
        soft_wrap=True,
    )


def show_model(result: dict[str, Any]) -> None:
    """What `bench_model` found."""
    console = Console()
    show_machine(console, result["machine"])
    operations, peaks = result["operations"], result["matmul_peak"]
    console.print(
        f"{result['config']}, batch {result['batch']}: {operations / GIGA:,.0f} GFLOP; matrix products reach "
        f"{peaks['float32'] / GIGA:,.0f} GFLOP/s in float32, {peaks['bfloat16'] / GIGA:,.0f} in bfloat16",
        soft_wrap=True,
    )
    table = Table("form", box=None, pad_edge=False, header_style="bold")
    for name in ("seconds", "least", "most", "processor s", "of peak", "peak memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for form, kept_in in (("plain", "float32"), ("fast", INT8 if result["int8"] else result["dtype"])):
        measured = result[form]
        seconds = measured["seconds"]
        table.add_row(
            f"{form}, {kept_in}",
            *(f"{seconds[name]:.3f}" for name in ("median", "least", "most")),
            f"{measured['processor_seconds']:.2f}",
            f"{result[f'{form}_share_of_peak']:.0%}",
            f"{measured['peak_memory'] / GIB:.2f} GiB",
        )
    console.print(table)
    fast = result["fast"]
    console.print(
        f"The fast form holds {fast['held_memory'] / GIB:.2f} GiB between answers, and at most "
        f"{fast['answer_peak_memory'] / GIB:.2f} GiB in those after the first.",
        soft_wrap=True,
    )
    console.print(
        f"fast / plain: time {result['ratio']:.2f}, processor time {result['processor_ratio']:.2f}, memory "
        f"{result['peak_memory_ratio']:.2f}. Equal pixels {result['pixels_equal']:.2%} "
        f"({result['pixels_equal_at_median']:.2%} at the median), mean difference of probabilities "
        f"{result['mean_probability_difference']:.5f}.",
        soft_wrap=True,
    )


def show_train(result: dict[str, Any]) -> None:
    """What `bench_train` found."""
    console = Console()
    show_machine(console, result["machine"])
    plain, fast = result["plain"], result["fast"]
    console.print(
        f"{result['config']}, {result['batch']} views of {result['image_size']} px with {result['phrases_per_view']} "
        f"phrases each in {result['precision']}; {fast['trained'] / 1e6:,.0f} of {fast['parameters'] / 1e6:,.0f} "
        f"million weights train. Forward and backward pass: {result['operations'] / GIGA:,.0f} GFLOP; matrix products "
        f"reach {result['matmul_peak'] / GIGA:,.0f} GFLOP/s",
        soft_wrap=True,
    )
    table = Table("form", box=None, pad_edge=False, header_style="bold")
    for name in ("s/step", "least", "most", "samples/s", "of peak", "peak memory", "first step"):
        table.add_column(name, justify="right", no_wrap=True)
    for form, measured, speed in (
        ("plain", plain, result["plain_samples_per_second"]),
        ("fast", fast, result["samples_per_second"]),
    ):
        seconds = measured["seconds"]
        table.add_row(
            form,
            *(f"{seconds[which]:.3f}" for which in ("median", "least", "most")),
            f"{speed:.2f}",
            f"{result[f'{form}_share_of_peak']:.0%}",
            f"{measured['peak_memory'] / GIB:.2f} GiB",
            f"{measured['first_seconds']:.1f} s",
        )
    console.print(table)
    for form, measured in (("plain", plain), ("fast", fast)):
        console.print(f"losses, {form}: {', '.join(f'{loss:.4f}' for loss in measured['losses'])}", soft_wrap=True)
    console.print(
        f"fast / plain: time {result['ratio']:.2f}, processor time {result['processor_ratio']:.2f}, memory "
        f"{result['peak_memory_ratio']:.2f}. Losses differ by at most {result['loss_difference']:.2%}. "
        + (
            f"{fast['graphs']} graphs were compiled in the first step, {fast['graphs_later']} later, for phrases of "
            "other lengths."
            if result["compiled"]
            else "Nothing was compiled."
        ),
        soft_wrap=True,
    )


def show_predict(result: dict[str, Any]) -> None:
    """What `bench_predict` found."""
    console = Console()
    show_machine(console, result["machine"])
    side = result["image_side"]
    console.print(f"{result['model']} in {result['dtype']}, files of {side} x {side} px: read, resized, run, written")
    table = Table("images", "phrases each", "in one pass", box=None, pad_edge=False, header_style="bold")
    for name in ("seconds", "least", "most", "images/s", "answers/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result["throughput"]:
        table.add_row(
            str(row["images"]),
            str(row["phrases"]),
            str(row["together"] or "its choice"),
            *(f"{row['seconds'][name]:.3f}" for name in ("median", "least", "most")),
            f"{row['images_per_second']:.2f}",
            f"{row['answers_per_second']:.2f}",
        )
    console.print(table)
    helped, predicted = result["help_seconds"], result["predict_seconds"]
    console.print(
        f"`refersat predict`, process start to files written: {predicted['median']:.2f} s "
        f"({predicted['least']:.2f} to {predicted['most']:.2f}); `refersat --help`: {helped['median']:.2f} s "
        f"({helped['least']:.2f} to {helped['most']:.2f})",
        soft_wrap=True,
    )
