"""The tokenizer keeps XLM-R's ids, pads with 3 and never loses the end token."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refersat.errors import UserError
from refersat.text.tokenizer import PhraseTokenizer, train_tokenizer

CATEGORIES = ["ship", "storage tank", "tennis court", "airplane", "bridge", "harbor", "vehicle", "baseball diamond"]
PLACES = ["on the left", "on the right", "at the top", "in the middle", "in the lower right", "next to the bridge"]
SENTENCES = [f"the {size} {name} {place}" for size in ("large", "small") for name in CATEGORIES for place in PLACES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(SENTENCES, target, 120)
    return target


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PhraseTokenizer:
    return PhraseTokenizer.from_folder(folder)


@pytest.mark.parametrize(
    "phrase", ["the ship", "Large  STORAGE tank", "zebra ü 漢字 on the left", "", "ship\tat the\n top"]
)
def test_ids_equal_those_of_the_xlm_r_tokenizer(folder: Path, tokenizer: PhraseTokenizer, phrase: str) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.XLMRobertaTokenizer.from_pretrained(folder, local_files_only=True)
    assert tokenizer.encode(phrase) == reference(phrase)["input_ids"]


def test_every_piece_is_shifted_by_one(folder: Path, tokenizer: PhraseTokenizer) -> None:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    phrase = "the small harbor in the middle"
    assert tokenizer.encode(phrase) == [0, *(piece + 1 for piece in processor.encode(phrase)), 2]
    assert tokenizer.vocab_size == processor.get_piece_size() + 1


def test_unknown_pieces_become_3_and_stay_real_tokens(tokenizer: PhraseTokenizer) -> None:
    ids = tokenizer.encode("漢")
    assert ids[-2:] == [3, 2]
    input_ids, mask = tokenizer(["漢", "the large ship on the left"])
    row = input_ids[0].tolist()
    assert mask[0].tolist() == [True] * len(ids) + [False] * (len(row) - len(ids))


def test_batch_is_padded_with_3_to_the_longest(tokenizer: PhraseTokenizer) -> None:
    phrases = ["ship", "the large storage tank in the lower right"]
    input_ids, mask = tokenizer(phrases)
    rows = [tokenizer.encode(phrase) for phrase in phrases]
    assert (input_ids.dtype, mask.dtype) == (torch.long, torch.bool)
    assert input_ids.shape == mask.shape == (2, len(rows[1]))
    assert input_ids[mask].tolist() == rows[0] + rows[1]
    assert set(input_ids[~mask].tolist()) == {3}
    assert int(input_ids.max()) < tokenizer.vocab_size


def test_no_phrases_give_an_empty_batch(tokenizer: PhraseTokenizer) -> None:
    input_ids, mask = tokenizer([])
    assert input_ids.shape == mask.shape == (0, 0)


def test_a_single_string_is_refused(tokenizer: PhraseTokenizer) -> None:
    with pytest.raises(TypeError):
        tokenizer("the ship")


def test_long_phrases_are_cut_and_keep_the_end_token(folder: Path) -> None:
    short = PhraseTokenizer.from_folder(folder, 6)
    whole = PhraseTokenizer.from_folder(folder, 10_000).encode("ship " * 500)
    cut = short.encode("ship " * 500)
    assert cut == [*whole[:5], 2]
    with pytest.raises(UserError):
        PhraseTokenizer.from_folder(folder, 1)


def test_built_in_training_folds_case(tokenizer: PhraseTokenizer) -> None:
    assert tokenizer.encode("THE Ship ON the left") == tokenizer.encode("the ship on the left")
    assert 3 not in tokenizer.encode("THE Ship ON the left")


def test_training_is_reproducible_and_bounded(tmp_path: Path, folder: Path) -> None:
    again = train_tokenizer(iter(SENTENCES), tmp_path, 120)
    assert (tmp_path / "sentencepiece.bpe.model").read_bytes() == (folder / "sentencepiece.bpe.model").read_bytes()
    assert again.vocab_size <= 121
    assert train_tokenizer(SENTENCES, tmp_path, 8_000).vocab_size < 1_000


@pytest.mark.parametrize(("sentences", "size"), [([], 100), (["  "], 100), (SENTENCES, 5)])
def test_impossible_training_is_a_user_error(tmp_path: Path, sentences: list[str], size: int) -> None:
    with pytest.raises(UserError):
        train_tokenizer(sentences, tmp_path, size)
    assert not list(tmp_path.iterdir())


def test_saved_and_pickled_tokenizers_are_the_same(tmp_path: Path, folder: Path, tokenizer: PhraseTokenizer) -> None:
    tokenizer.save(tmp_path / "new" / "model")
    phrase = "the small vehicle at the top"
    assert PhraseTokenizer.from_folder(tmp_path / "new" / "model").encode(phrase) == tokenizer.encode(phrase)
    assert [file.name for file in (tmp_path / "new" / "model").iterdir()] == ["sentencepiece.bpe.model"]
    assert pickle.loads(pickle.dumps(tokenizer)).encode(phrase) == tokenizer.encode(phrase)


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x00" * 100])
def test_bad_files_are_user_errors(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(UserError, match=r"sentencepiece\.bpe\.model") as caught:
        PhraseTokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_import_is_light() -> None:
    code = (
        "import sys, refersat.text.tokenizer;"
        "sys.exit(len({'torch', 'transformers', 'sentencepiece', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
