"""`refersat export`: files that answer as the model does, and that say all there is to know about them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import export_parity
import numpy as np
import onnx
import parity
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

import refersat
from refersat.cli.main import main
from refersat.export.check import compare, open_graphs
from refersat.export.formats import write_graph
from refersat.export.graphs import example_inputs, graphs
from refersat.models import store
from refersat.models.identity import model_files
from refersat.models.rs2sam2 import RS2Sam2Model
from tests.export.conftest import half_foreground, save_model
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, answer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "onnx_predict.py"
Exported = Callable[[str, str], tuple[Path, RS2Sam2Model]]


def predict_without_torch(folder: Path, image: Path, phrase: str, target: Path) -> NDArray[np.bool_]:
    """What examples/onnx_predict.py draws, in a process that can import neither PyTorch nor refersat."""
    blocked = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['refersat'] = None; del sys.argv[0]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [str(EXAMPLE), str(folder), str(image), phrase, str(target)]
    subprocess.run([sys.executable, "-c", blocked, *words], check=True)
    return np.asarray(PIL.Image.open(target)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["released", "built-in", "second look"])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 2), (1, 16), (2, 5), (3, 9)])
def test_onnx_runtime_answers_like_the_model(exported: Exported, configuration: str, batch: int, tokens: int) -> None:
    folder, model = exported(configuration, "onnx")
    inputs = example_inputs(model, batch, tokens, seed=tokens)
    comparison = compare(model, open_graphs(folder, threads=1), inputs, timed=False)
    assert comparison.difference < 1e-4
    assert comparison.presence_difference < 1e-4
    assert comparison.pixels_equal > 0.999
    assert comparison.good


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["EVF-SAM 2", "built-in"])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 2), (1, 16), (3, 9)])
def test_exported_programs_answer_like_the_model(
    exported: Exported, configuration: str, batch: int, tokens: int
) -> None:
    folder, model = exported(configuration, "torch-export")
    inputs = example_inputs(model, batch, tokens, seed=tokens)
    comparison = compare(model, open_graphs(folder, threads=1), inputs, timed=False)
    assert comparison.difference < 1e-5
    assert comparison.presence_difference < 1e-5


@pytest.mark.slow
def test_exported_programs_run_without_refersat(exported: Exported) -> None:
    folder, _ = exported("built-in", "torch-export")
    script = (
        "import json, sys, torch; sys.modules['refersat'] = sys.modules['transformers'] = None\n"
        "folder = sys.argv[1]; row = json.load(open(f'{folder}/manifest.json'))['graphs'][0]\n"
        "sizes = {'batch': 4, 'tokens': 3}\n"
        "inputs = {\n"
        "    name: torch.ones([sizes.get(n, n) for n in given['shape']], dtype=getattr(torch, given['dtype']))\n"
        "    for name, given in row['inputs'].items()\n"
        "}\n"
        "outputs = torch.export.load(f'{folder}/{row[\"file\"]}').module()(inputs)\n"
        "print(json.dumps({name: list(tensor.shape) for name, tensor in outputs.items()}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(folder)], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout) == {
        "prompt_token": [4, 32],
        "text": [4, 3, 32],
        "pseudo_mask_logits": [4, 1, 4, 4],
    }


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["released", "built-in"])
def test_the_example_without_torch_draws_the_same_mask(
    exported: Exported, configuration: str, picture: Path, tmp_path: Path
) -> None:
    phrase = "the ship on the left"
    folder = half_foreground(exported(configuration, "onnx")[0].parent, tmp_path / "half", picture, phrase)
    result = refersat.load(folder / "model", device="cpu", dtype="float32")(picture, phrase)
    mask = predict_without_torch(folder / "graphs", picture, phrase, tmp_path / "mask.png")
    assert 0.2 < result.mask.mean() < 0.8
    assert mask.shape == result.mask.shape
    assert (mask == result.mask).mean() > 0.999


@pytest.mark.slow
def test_the_example_without_torch_knows_what_is_not_there(exported: Exported, picture: Path, tmp_path: Path) -> None:
    folder, _ = exported("built-in", "onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    strict = tmp_path / "strict"
    strict.mkdir()
    for file in folder.iterdir():
        (strict / file.name).write_bytes(file.read_bytes())
    manifest["answer"]["presence_threshold"] = 1.1
    (strict / "manifest.json").write_text(json.dumps(manifest))
    assert not predict_without_torch(strict, picture, "all ships", tmp_path / "mask.png").any()


@pytest.mark.slow
def test_the_folder_says_all_there_is_to_know(exported: Exported) -> None:
    folder, model = exported("built-in", "onnx")
    source = folder.parent / "model"
    manifest = json.loads((folder / "manifest.json").read_text())
    (digest,) = model_files(source)[0].values()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert manifest["model"] == {"name": "model", "sha256": digest, "parameters": parameters}
    assert all(row["simplified"] for row in manifest["graphs"])
    assert manifest["images"]["sides"] == {"pixel_values": 64, "union_pixel_values": 32}
    assert manifest["images"]["antialias"] is True
    assert manifest["answer"] == {"mask_threshold": 0.5, "two_class_logit": True, "presence_threshold": 0.5}
    assert (folder / manifest["tokenizer"]["file"]).read_bytes() == (source / "sentencepiece.bpe.model").read_bytes()
    assert store.damaged_files(folder) == []
    listed = {row["file"] for row in manifest["graphs"]}
    assert {file.name for file in folder.iterdir()} == {
        *listed, "manifest.json", "SHA256SUMS", "sentencepiece.bpe.model",
    }  # fmt: skip
    for row in manifest["graphs"]:
        graph = onnx.load(folder / row["file"]).graph
        for side, values in (("inputs", graph.input), ("outputs", graph.output)):
            assert [value.name for value in values] == list(row[side])
        assert {node.domain for node in graph.node} == {""}  # for any program that reads ONNX
        for value in graph.input:
            sizes = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            assert sizes == row["inputs"][value.name]["shape"]
    assert manifest["graphs"][0]["inputs"]["input_ids"] == {"shape": ["batch", "tokens"], "dtype": "int64"}


@pytest.mark.slow
def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", **CONFIGURATIONS["built-in"])
    for graph in graphs(model):
        write_graph(graph, tmp_path / f"{graph.name}.pt2", "torch-export", longest=16)
    with torch.no_grad():
        given, expected = answer(model), answer(save_model(tmp_path / "again", **CONFIGURATIONS["built-in"]))
    assert torch.equal(given.logits, expected.logits)


@pytest.mark.slow
def test_the_command_checks_and_tells_the_time(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model")
    words = ["export", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--format", "torch-export"]
    assert main([*words, "--image", str(picture), "-t", "all ships", "-t", "the ship on the left"]) == 0
    out = capsys.readouterr().out
    assert "Wrote the graphs of model" in out
    assert "PyTorch" in out
    assert len([line for line in out.splitlines() if line.endswith("%")]) == 2
    assert main([*words, "--check-only"]) == 0
    assert "Wrote" not in capsys.readouterr().out
    assert main(words) == 0  # an earlier export may be replaced
    save_model(tmp_path / "model", block_fusion="uni")
    assert main([*words, "--check-only"]) == 2
    assert "was made from other weights" in capsys.readouterr().err


def test_graphs_that_differ_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model")
    other = np.random.default_rng(0)

    def wrong(*_: Any, **__: Any) -> Callable[..., dict[str, NDArray[Any]]]:
        return lambda values: {
            "logits": other.standard_normal((len(values["input_ids"]), 1, 64, 64)),
            "presence_logits": np.zeros(len(values["input_ids"])),
        }

    monkeypatch.setattr("refersat.export.write.write_graph", lambda _, path, *__, **___: path.write_bytes(b"graph"))
    monkeypatch.setattr("refersat.export.check.open_graphs", wrong)
    words = ["export", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "the graphs answer differently" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes are found before anything is exported."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("exporting began")

    monkeypatch.setattr("refersat.export.write.write_graph", refuse)


@pytest.mark.usefixtures("no_work")
class TestMistakes:
    """One line, exit code 2, and nothing is written."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "no folder given"),
            (["--out", "{tmp}/out", "--format", "tflite"], "--format is onnx or torch-export, not tflite"),
            (["--out", "{tmp}/out", "--image", "a.png"], "--image and -t go together"),
            (["--out", "{tmp}/out", "-t", "all ships"], "--image and -t go together"),
            (["--out", "{tmp}/out", "--no-check", "--image", "a.png", "-t", "all ships"], "--no-check leaves out"),
            (["--out", "{tmp}/out", "--no-check", "--check-only"], "--no-check leaves out"),
            (["--out", "{tmp}/full", "--check-only"], "full holds no export"),
            (["--out", "{tmp}/out", "--image", "{tmp}/none.png", "-t", "all ships"], "none.png"),
            (["--out", "{tmp}/full"], "holds something else than an earlier export"),
            (["--out", "{tmp}/full/file"], "is a file: give a folder"),
            (["--out", "{tmp}/full/file/out"], "cannot write to"),
            (["--out", "{tmp}/out", "--model", "{tmp}/none"], "is neither a folder nor a model's name"),
            (["--out", "{tmp}/out", "--model", "sam3"], "not on this machine"),
            (["--out", "{tmp}/out", "--model", "{tmp}/pslg"], "pslg is a PSLG-SAM: only RS2-SAM 2"),
            (["--out", "{tmp}/out", "--model", "{tmp}/peer"], "peer is a peer"),
        ],
    )
    def test_it_says_what_is_wrong(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        message: str,
    ) -> None:
        monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))
        for name, file, content in (
            ("full", "file", "mine"),
            ("pslg", "pslg.json", "{}"),
            ("peer", "config.json", '{"model_type": "sam3_video"}'),
        ):
            (tmp_path / name).mkdir()
            (tmp_path / name / file).write_text(content)
        before = sorted(tmp_path.rglob("*"))
        assert main(["export", *(word.format(tmp=tmp_path) for word in words)]) == 2
        assert message in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        ("missing", "words", "needs"),
        [
            ({"onnx", "onnxscript"}, [], "--format onnx needs onnx, onnxscript: pip install 'refersat[export]'"),
            ({"onnxruntime"}, [], "--format onnx needs onnxruntime"),
        ],
    )
    def test_it_says_what_to_install(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        missing: set[str],
        words: list[str],
        needs: str,
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else object())
        assert main(["export", "--out", str(tmp_path / "out"), *words]) == 2
        assert needs in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_built_in_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Lossless: Pillow, which the example reads with, and GDAL decode the same JPEG a little differently.
    image, phrase = tmp_path / "ships.png", "the ship at the bottom"
    PIL.Image.open(ROOT / "examples" / "ships.jpg").convert("RGB").save(image)
    words = ["--out", str(tmp_path / "graphs"), "--image", str(image), "-t", phrase, "-t", "all ships"]
    assert main(["export", *words]) == 0
    assert "Wrote the graphs of built-in" in capsys.readouterr().out
    result = refersat.load("built-in", device="cpu", dtype="float32")(image, phrase)
    mask = predict_without_torch(tmp_path / "graphs", image, phrase, tmp_path / "mask.png")
    assert result.mask.any()
    assert (mask != result.mask).sum() <= 2
    by_graphs = refersat.load(tmp_path / "graphs")(image, phrase)
    assert (by_graphs.mask != result.mask).sum() <= 2
    np.testing.assert_allclose(by_graphs.probability, result.probability, atol=1e-3)
    assert by_graphs.score == pytest.approx(result.score, abs=1e-3)


@pytest.mark.slow
def test_onnx_runtime_gives_the_released_models_recordings(tmp_path: Path) -> None:
    rows = export_parity.measure("onnx", tmp_path, timed=False)
    assert set(rows) == set(parity.CASES)
    for errors, comparison in rows.values():
        assert max(errors.values()) < parity.TOLERANCE
        assert comparison.good
