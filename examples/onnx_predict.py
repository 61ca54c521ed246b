"""An image and a phrase in, a mask out, by a folder that `refersat export` wrote: without refersat and PyTorch.

    pip install numpy onnxruntime pillow sentencepiece
    python onnx_predict.py FOLDER IMAGE PHRASE MASK.png

For images with 8 bits in each of three bands.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sentencepiece import SentencePieceProcessor


def resize(plane: np.ndarray, width: int, height: int, *, antialias: bool) -> np.ndarray:
    """Bilinear, of one channel (H, W) float32."""
    picture = Image.fromarray(plane)
    if antialias:
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    scale = (picture.width / width, 0, 0, 0, picture.height / height, 0)
    return np.asarray(picture.transform((width, height), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR))


folder, image, phrase, target = Path(sys.argv[1]), *sys.argv[2:]
about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
views, words, answer = about["images"], about["tokenizer"], about["answer"]

rgb = np.asarray(Image.open(image).convert("RGB"), np.float32) / 255
planes = np.moveaxis((rgb - np.float32(views["mean"])) / np.float32(views["std"]), -1, 0)
values = {
    name: np.stack([resize(plane, side, side, antialias=views["antialias"]) for plane in planes])[None]
    for name, side in views["sides"].items()
}
pieces = SentencePieceProcessor(model_file=str(folder / words["file"])).encode(phrase)
ids = [piece + 1 if piece else words["unknown"] for piece in pieces][: words["longest"] - 2]
values["input_ids"] = np.array([[words["begin"], *ids, words["end"]]])
values["attention_mask"] = np.ones(values["input_ids"].shape, bool)

for graph in about["graphs"]:  # each takes what it needs by name, and gives what later ones take
    session = onnxruntime.InferenceSession(folder / graph["file"])
    outputs = session.run(list(graph["outputs"]), {name: values[name] for name in graph["inputs"]})
    values.update(zip(graph["outputs"], outputs, strict=True))

height, width = rgb.shape[:2]
mask = resize(values["logits"][0, 0], width, height, antialias=False) > answer["mask_threshold"]
if answer["presence_threshold"] is not None:  # else the model has an answer to every phrase
    mask &= 1 / (1 + np.exp(-values["presence_logits"][0])) >= answer["presence_threshold"]
Image.fromarray(mask.astype(np.uint8) * 255).save(target)
