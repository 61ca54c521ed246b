"""A folder that `refersat export` wrote is a model like any other, and runs without PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.export.backend import OnnxBackend
from refersat.export.views import normalised, resized, square
from refersat.models.identity import model_files, weights_digest
from refersat.models.loading import read_folder
from refersat.models.preprocess import normalise, square_view
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.text.tokenizer import train_tokenizer
from refersat.threads import limit_threads, usable_threads
from tests.export.conftest import SENTENCES, half_foreground

Exported = Callable[[str, str], tuple[Path, RS2Sam2Model]]
PHRASES = ["the ship on the left", "all ships", "the left one"]
NOTHING_WITHOUT = {"torch", "transformers"}


@pytest.fixture(params=["released", "built-in"])
def both(request: pytest.FixtureRequest, exported: Exported, picture: Path, tmp_path: Path) -> Path:
    """A folder with a model and its graphs, for which half of the picture is foreground."""
    return half_foreground(exported(request.param, "onnx")[0].parent, tmp_path / "half", picture, PHRASES[0])


@pytest.mark.slow
def test_it_answers_as_the_model_it_was_made_from(both: Path, picture: Path) -> None:
    ask, model = refersat.load(both / "graphs"), refersat.load(both / "model", device="cpu", dtype="float32")
    assert (ask.name, ask.parameters, ask.threshold) == ("graphs", model.parameters, pytest.approx(model.threshold))
    assert (str(ask.device), ask.device.type, ask.number_format) == ("cpu", "cpu", model.number_format)
    other = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    images = [picture, picture, picture, other]
    phrases = [*PHRASES, PHRASES[0]]
    for one, expected in zip(ask.batch(images, phrases), model.batch(images, phrases), strict=True):
        np.testing.assert_allclose(one.probability, expected.probability, atol=2e-4)
        assert (one.mask == expected.mask).mean() > 0.999
        assert (one.present, one.score) == (expected.present, pytest.approx(expected.score, abs=1e-3))
        for name in ("pseudo_mask", "candidates"):
            step, expected_step = getattr(one.steps, name), getattr(expected.steps, name)
            assert (step is None) == (expected_step is None)
            if step is not None:
                np.testing.assert_allclose(step, expected_step, atol=1e-4)


@pytest.mark.slow
def test_a_batch_gives_what_one_by_one_gives(exported: Exported, picture: Path) -> None:
    ask = refersat.load(exported("built-in", "onnx")[0])
    alone = [ask(picture, phrase) for phrase in PHRASES]
    for batch_size in (None, 1, 2, 3):
        for one, other in zip(alone, ask.batch([picture] * 3, PHRASES, batch_size=batch_size), strict=True):
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-5)
            assert (one.phrase, one.present) == (other.phrase, other.present)


@pytest.mark.slow
def test_what_is_not_there_has_an_empty_mask(exported: Exported, picture: Path, tmp_path: Path) -> None:
    folder = changed(exported, tmp_path, answer={"presence_threshold": 1.1, "mask_threshold": -99.0})
    result = refersat.load(folder)(picture, "all ships")
    assert not result.present
    assert not result.mask.any()
    assert result.probability.any()


def changed(exported: Exported, tmp_path: Path, **changes: Mapping[str, Any]) -> Path:
    """A copy of an export with other values in its manifest."""
    folder = tmp_path / "changed"
    shutil.copytree(exported("built-in", "onnx")[0], folder)
    path = folder / "manifest.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {name: about[name] | values for name, values in changes.items()}))
    return folder


@pytest.mark.slow
def test_predict_needs_no_pytorch(exported: Exported, picture: Path, tmp_path: Path) -> None:
    folder, _ = exported("built-in", "onnx")
    code = (
        "import sys; from refersat.cli.main import main; code = main(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    words = ["predict", str(picture), "-t", "all ships", "--model", str(folder), "--out", str(tmp_path / "out"), "-v"]
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    said, imported = ran.stderr.splitlines()
    assert "device cpu, dtype float32" in said
    assert "onnxruntime" in imported.split()
    assert not NOTHING_WITHOUT & set(imported.split())
    assert (tmp_path / "out" / "picture-1.mask.tif").is_file()


@pytest.mark.slow
def test_commands_take_it(exported: Exported, picture: Path, tmp_path: Path) -> None:
    folder = str(exported("built-in", "onnx")[0])
    (tmp_path / "data").mkdir()
    shutil.copy(picture, tmp_path / "data" / "a.png")
    PIL.Image.fromarray(np.full((90, 150), 255, np.uint8)).save(tmp_path / "data" / "mask.png")
    item = {"id": 1, "image": "a.png", "mask": "mask.png", "sentence": "all ships", "split": "val"}
    (tmp_path / "data" / "refs.json").write_text(json.dumps([item]))
    words = ["--data", f"triplets:{tmp_path / 'data'}", "--out", str(tmp_path / "evaluated")]
    assert main(["evaluate", "--model", folder, *words]) == 0
    told = json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["model"]
    assert set(told["weights_sha256"]) == {"union-encoder.onnx", "image-encoder.onnx", "decoder.onnx"}
    asked = ["-t", "all ships", "--model", folder]
    assert main(["batch", str(picture), *asked, "--out", str(tmp_path / "batch")]) == 0
    assert main(["scene", str(picture), *asked, "--out", str(tmp_path / "scene"), "--strategy", "tile"]) == 0
    sheets = ["--out", str(tmp_path / "out"), "--explain", str(tmp_path / "sheets")]
    assert main(["predict", str(picture), *asked, *sheets]) == 0
    assert (tmp_path / "sheets" / "picture-1.explain.png").is_file()


@pytest.mark.slow
def test_it_is_told_apart_from_the_model_it_was_made_from(exported: Exported) -> None:
    folder, _ = exported("built-in", "onnx")
    weights, beside = model_files(folder)
    assert set(beside) == {"manifest.json", "sentencepiece.bpe.model"}
    assert weights_digest(weights) != weights_digest(model_files(folder.parent / "model")[0])


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """What says that it is an export, and holds nothing else."""
    folder = tmp_path / "graphs"
    folder.mkdir()
    about = {"kind": "refersat export", "format": "onnx", "model": {"name": "ours"}, "graphs": []}
    (folder / "manifest.json").write_text(json.dumps(about))
    return folder


class TestMistakes:
    """One line, exit code 2."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--device", "cuda"], "exported models run on the CPU, not on cuda"),
            (["--device", "mps"], "exported models run on the CPU"),
            (["--dtype", "bfloat16"], "exported models compute in float32, not in bfloat16"),
            (["--dtype", "int8"], "exported models compute in float32, not in int8"),
            ([], "damaged or of another version of refersat: export the model again"),
        ],
    )
    @pytest.mark.parametrize("command", ["predict", "scene", "batch", "evaluate"])
    def test_options(
        self,
        fake: Path,
        picture: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        command: str,
        options: list[str],
        message: str,
    ) -> None:
        words = [str(picture), "-t", "all ships"]
        if command == "evaluate":
            mask = {"id": 1, "image": "picture.png", "mask": "picture.png", "sentence": "all ships", "split": "val"}
            (tmp_path / "refs.json").write_text(json.dumps([mask]))
            words = ["--data", f"triplets:{tmp_path}"]
        assert main([command, *words, "--model", str(fake), "--out", str(tmp_path / "out"), *options]) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["export", "--model", "{fake}", "--out", "{fake}2"], "holds no network: give the model that was exported"),
            (["models", "info", "{fake}"], "was exported from ours: `refersat models info ours` tells"),
            (["models", "convert", "{fake}", "{fake}2"], "holds no network"),
            (["models", "push", "{fake}", "me/mine"], "holds no network"),
        ],
    )
    def test_what_needs_the_network_says_so(
        self, fake: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
    ) -> None:
        assert main([word.format(fake=fake) for word in words]) == 2
        assert message in capsys.readouterr().err

    def test_training_cannot_start_from_it(self, fake: Path) -> None:
        with pytest.raises(UserError, match="holds no network"):
            read_folder(fake)

    def test_other_formats(self, fake: Path) -> None:
        path = fake / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "torch-export"}))
        with pytest.raises(UserError, match="with --format onnx"):
            refersat.load(fake)

    def test_no_onnx_runtime(self, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"pip install 'refersat\[onnx\]'"):
            refersat.load(fake)

    @pytest.mark.slow
    def test_files_that_are_missing_or_cut(self, exported: Exported, tmp_path: Path) -> None:
        folder = changed(exported, tmp_path)
        graph = folder / "decoder.onnx"
        graph.write_bytes(graph.read_bytes()[:-1000])
        with pytest.raises(UserError, match=r"cannot open .*decoder\.onnx, which is damaged"):
            refersat.load(folder)
        graph.unlink()
        with pytest.raises(UserError, match=r"lacks decoder\.onnx"):
            refersat.load(folder)
        (folder / "sentencepiece.bpe.model").unlink()
        with pytest.raises(UserError, match="cannot read the tokenizer"):
            refersat.load(folder)


@pytest.mark.parametrize("shape", [(12, 15), (90, 150), (64, 64), (300, 40)])
@pytest.mark.parametrize("antialias", [True, False])
def test_views_are_those_of_pytorch(shape: tuple[int, int], antialias: bool) -> None:
    image: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    planes = normalised(image, mean, std)
    np.testing.assert_allclose(np.stack(planes), normalise(image)[0].numpy(), rtol=1e-6)
    given, expected = square(planes, 64, antialias=antialias), square_view(image, 64, antialias=antialias)
    np.testing.assert_allclose(given, expected[0].numpy(), atol=1e-4)
    logits = np.random.default_rng(1).standard_normal((28, 28), dtype=np.float32)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(logits)[None, None], shape, mode="bilinear")[0, 0]
    np.testing.assert_allclose(resized(logits, *shape), wanted.numpy(), atol=1e-4)


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    for text, expected in (("4", 4), ("2,1", 2), ("", 3), ("0", 3), ("many", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert usable_threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert usable_threads() == 3
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert (usable_threads(), torch.get_num_threads()) == (1, 1)
    finally:
        torch.set_num_threads(before)
        monkeypatch.delenv("OMP_NUM_THREADS")


@pytest.mark.parametrize(("parameters", "threads", "expected"), [(10, 1, 1), (10, 3, 3), (10, 64, 4), (10**9, 64, 1)])
def test_small_models_answer_about_several_images_at_once(
    tmp_path: Path, parameters: int, threads: int, expected: int
) -> None:
    answer = {"mask_threshold": 0.5, "two_class_logit": True, "presence_threshold": None}
    about = {"model": {"parameters": parameters}, "answer": answer, "images": {}}
    backend = OnnxBackend(about, dict, train_tokenizer(SENTENCES, tmp_path, 39), threads=threads)
    assert backend.images_at_once == expected
    far = np.array([-1e4, 0.5, 1e4], np.float32)
    np.testing.assert_array_equal(backend.probability(far), np.float32([0, 0.5, 1]))
