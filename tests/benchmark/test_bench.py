"""`refersat bench`: what it prints, and that both forms get the same model and inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refersat.benchmark import model as bench
from refersat.benchmark.case import count_operations, make_inputs, make_model, random_weight
from refersat.benchmark.machine import Spread, facts, matmul_peak
from refersat.benchmark.training import loss_difference
from refersat.benchmark.training_case import make_batches, make_setup, stage_of
from refersat.cli.main import main

VIEWS = ("pixel_values", "union_pixel_values", "target", "labels", "label_weights", "edges", "named", "present")


@pytest.mark.slow
def test_model_prints_json_with_the_promised_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "bench.json"
    words = ["bench", "model", "--config", "built-in", "--dtype", "float32", "--repeats", "1"]
    code = main([*words, "--json", "--save", str(saved)])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert json.loads(saved.read_text()) == result
    assert result["ratio"] == pytest.approx(result["fast_seconds"] / result["plain_seconds"])
    assert result["pixels_equal"] > 0.999
    assert 0 < result["foreground"] < 1
    assert result["mean_probability_difference"] < 0.001
    assert 0.1 < result["peak_memory_ratio"] < 1.5
    assert 0 < result["fast"]["held_memory"] < result["fast"]["answer_peak_memory"] <= result["fast"]["peak_memory"]
    assert result["operations"] > 2e10
    assert result["machine"]["torch"] == torch.__version__
    assert result["plain"]["seconds"]["count"] == 1


@pytest.mark.slow
def test_weights_in_int8_are_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "model", "--config", "built-in", "--device", "cpu", "--repeats", "1"]
    assert main([*words, "--dtype", "int8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["int8"]
    assert main([*words, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert not whole["int8"]
    assert result["mean_probability_difference"] != whole["mean_probability_difference"]


@pytest.mark.slow
def test_train_prints_json_with_the_promised_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "bench.json"
    words = ["bench", "train", "--device", "cpu", "--batch", "1", "--steps", "2", "--no-compile"]
    assert main([*words, "--json", "--save", str(saved)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert json.loads(saved.read_text()) == result
    assert result["ratio"] == pytest.approx(result["fast_seconds"] / result["plain_seconds"])
    assert result["samples_per_second"] == pytest.approx(result["phrases_per_view"] / result["fast_seconds"])
    assert result["loss_difference"] < 1e-6  # without compiled layers a CPU does the same in both
    assert len(set(result["plain"]["losses"])) == len(result["fast"]["losses"]) == 3
    assert 0.5 < result["peak_memory_ratio"] < 1.5
    assert 0 < result["fast_share_of_peak"] < 1
    assert result["fast"]["graphs"] == 0


def test_losses_are_compared_step_by_step() -> None:
    assert loss_difference([2.0, 4.0], [2.0, 4.0]) == 0
    assert loss_difference([2.0, 4.0], [2.1, 3.0]) == pytest.approx(0.25)


def test_every_step_of_training_has_phrases_of_another_length_and_its_parts_fit() -> None:
    setup = make_setup("built-in", batch=2, precision="float32", compiled=False, checkpointing=False)
    first, second = make_batches(setup, 2)
    stage = stage_of(setup)
    assert (len(first.pixel_values), len(first.input_ids)) == (2, 2 * stage.phrases_per_view)
    assert first.input_ids.shape[1] != second.input_ids.shape[1]
    assert not torch.equal(first.pixel_values, second.pixel_values)
    sizes = setup.task.empty_batch(setup.start.config, stage, 2, outlines=True)
    assert {name: getattr(first, name).shape for name in VIEWS} == {name: getattr(sizes, name).shape for name in VIEWS}
    assert not first.attention_mask.all()
    again = make_batches(setup, 1)[0]
    assert torch.equal(again.pixel_values, first.pixel_values)


def test_what_is_measured_trains_what_the_recipe_trains() -> None:
    setup = make_setup("large", batch=1, precision="bfloat16", compiled=False, checkpointing=True)
    assert (setup.recipe.name, stage_of(setup).image_size, stage_of(setup).batch_size) == ("rs2sam2-rrsisd", 1024, 1)
    assert not setup.recipe.parts.trunk.train
    assert setup.loss.candidates == setup.loss.presence == 0
    assert setup.recipe.optimizer.activation_checkpointing


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--config", "huge"], "huge"), (["--device", "cpu:1"], "cpu:1"), (["--save", "/no/x"], "--save")],
)
def test_a_mistake_about_training_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.slow
def test_predict_measures_the_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "predict", "--repeats", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["images"], row["phrases"], row["together"]) for row in result["throughput"]] == [
        *((1, count, None) for count in (1, 2, 4, 8)),
        *((count, 1, None) for count in (2, 4, 8, 32)),
        (32, 1, 8),
    ]
    assert all(row["images_per_second"] > 0 for row in result["throughput"])
    assert result["help_seconds"]["median"] < result["predict_seconds"]["median"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "huge"], "huge"),
        (["--device", "toaster"], "toaster"),
        (["--save", "/no/such/folder/x.json"], "--save"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "model", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_form_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "count_operations", lambda *_: 1)
    monkeypatch.setattr(bench, "matmul_peak", lambda *_: 1.0)
    options = bench.Options(
        config="built-in", device="nowhere", dtype="float32", int8=False, batch=1, repeats=1, compiled=False
    )
    with pytest.raises(RuntimeError, match=r"plain form failed with exit code 1: .*nowhere"):
        bench.bench_model(options, lambda _: None)


@pytest.mark.slow
def test_operations_of_the_released_model() -> None:
    assert count_operations("large", 1) == pytest.approx(2.13e12, rel=0.01)


def test_weights_are_the_same_every_time_and_differ_by_name() -> None:
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    one = random_weight("a.weight", torch.Size((40, 50)), noise)
    assert torch.equal(one, random_weight("a.weight", torch.Size((40, 50)), noise))
    assert not torch.equal(one, random_weight("b.weight", torch.Size((40, 50)), noise))
    assert one.std().item() == pytest.approx(50**-0.5, rel=0.1)
    norm = random_weight("norm.weight", torch.Size((900,)), noise)
    assert norm.mean().item() == pytest.approx(1, abs=0.01)


def test_inputs_fit_the_model() -> None:
    model = make_model("built-in", torch.float32, "cpu")
    pixels, union, ids, mask = make_inputs("built-in", model, 2)
    assert pixels.shape == (2, 3, model.config.image_size, model.config.image_size)
    assert union.shape == (2, 3, model.config.union_image_size, model.config.union_image_size)
    assert ids.shape == mask.shape
    assert ids.max() < model.config.vocab_size


def growth_by(size: int) -> int:
    """How much the peak of a new process grows by that many bytes: this one may have held more before."""
    code = f"""
from refersat.benchmark.machine import peak_memory
before = peak_memory()
kept = b"1" * {size}
print(peak_memory() - before)
"""
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


# Only Linux, where CI runs, can forget a process's peak.
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system remembers the peak for good")
def test_the_peak_is_counted_anew_once_it_is_forgotten() -> None:
    code = """
from refersat.benchmark.machine import forget_peak_memory, peak_memory
b"1" * 2**27
before = peak_memory()
forget_peak_memory()
print(before - peak_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 2**26


def test_the_machine_is_described_and_measured() -> None:
    assert {"processor", "threads", "torch", "date"} <= set(facts("cpu"))
    assert matmul_peak("cpu", "float32") > 1e8
    assert growth_by(4 * 2**25) >= 0.9 * 4 * 2**25  # what was freed before is used again
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, least=1.0, most=3.0, count=3)
