"""An eye sees what its model sees, is kept in no other folder, and is refused where it is not what it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from refersat.errors import UserError
from refersat.models.eye import Eye, digest_of, open_eye
from refersat.models.loading import build, read_folder
from refersat.models.prompted.compact import CompactSam, CompactSamConfig, CompactSamModel
from tests.models.tiny_eye import eye_model_config, save_eye_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path) -> Path:
    return save_eye_model(tmp_path_factory.mktemp("eye") / "model", tokenizer_file, vocab_size=80)


def opened(folder: Path) -> Eye:
    eye = Eye(eye_model_config(vocab_size=80))
    open_eye(eye, str(folder), "", folder=folder)
    return eye


def test_it_sees_what_its_model_sees(model_folder: Path) -> None:
    model = build(read_folder(model_folder), device=CPU, dtype=torch.float32)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sight = opened(model_folder)(pixels)
    with torch.no_grad():
        state = model.trunk.look(pixels)
        survey = model.candidates.survey(state)
    torch.testing.assert_close(sight.fine, survey.features)
    torch.testing.assert_close(sight.edges, survey.edges)
    torch.testing.assert_close(sight.coarse, state.features.permute(0, 3, 1, 2))
    assert [each.shape[-1] for each in sight.maps] == [16, 16, 8, 4]


def test_the_last_image_is_remembered_by_its_pixels(model_folder: Path) -> None:
    eye = opened(model_folder)
    image = np.full((40, 50, 3), 90, np.uint8)
    first = eye.see(image)
    assert eye.see(image.copy()) is first
    image[:20] = 200
    assert eye.see(image) is not first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidate_width": 0, "selection": False, "glance": 0.0}, "candidate_width"),
        ({"fusion_from_block": 3}, "fusion_from_block"),
    ],
)
def test_not_every_model_has_an_eye(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Eye(eye_model_config(**changes))


def test_the_sign_of_a_zero_makes_no_other_eye(model_folder: Path) -> None:
    eye = opened(model_folder)
    with torch.no_grad():
        eye.trunk.pos_embed[0, 0, 0, 0] = 0.0
        plain = digest_of(eye)
        eye.trunk.pos_embed[0, 0, 0, 0] = -0.0
        assert digest_of(eye) == plain
        eye.trunk.pos_embed[0, 0, 0, 0] = 0.5
    assert digest_of(eye) != plain


def saved(model_folder: Path, folder: Path, **changes: str) -> Path:
    description = json.loads((model_folder / "config.json").read_text())
    words = {"eye": description, "eye_model": "../model", "eye_sha256": digest_of(opened(model_folder)), **changes}
    torch.manual_seed(1)
    CompactSamModel(CompactSamConfig(**words, hidden_size=32, feed_forward=32)).save_pretrained(folder)
    return folder


def test_a_folder_holds_no_eye_and_finds_its_own(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(model_folder)
    folder = saved(model_folder, tmp_path / "sam")
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert not [name for name in weights.keys() if name.startswith("eye.")]  # noqa: SIM118
    assert digest_of(CompactSam.load(folder, device=CPU).model.eye) == digest_of(opened(model_folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eye_sha256": "0" * 64}, "was trained with other weights"),
        ({"eye_model": "no-such-model"}, "which is not there"),
        ({"eye_model": "."}, "which lacks"),
    ],
)
def test_another_eye_is_refused(model_folder: Path, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    (tmp_path / "model").symlink_to(model_folder)
    folder = saved(model_folder, tmp_path / "sam", **changes)
    with pytest.raises(UserError, match=message):
        CompactSam.load(folder, device=CPU)
