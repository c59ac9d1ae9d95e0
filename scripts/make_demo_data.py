"""Cut the bundled demo data out of Fashion-MNIST: 5,000 pool and 1,000 test pictures, stratified.

    python scripts/make_demo_data.py fashion_mnist.npz src/poolwise/datasets/data

The input has `train_images` (60000, 28, 28) uint8, `train_labels`, `test_images`, `test_labels`, `label_names`.
The output is one grey PNG, 60 rows of 100 pictures, and a JSON file that says what they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SEED = 2017
PER_ROW = 100


def stratified(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `per_class` rows of each class, then shuffle them: (C * per_class,) row numbers."""
    parts = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(labels.max() + 1)]
    return rng.permutation(np.concatenate(parts))


def main(source: Path, folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    with np.load(source, allow_pickle=False) as data:
        rows = {part: stratified(data[f"{part}_labels"], n, rng) for part, n in (("train", 500), ("test", 100))}
        images = np.concatenate([data[f"{part}_images"][rows[part]] for part in rows])  # (6000, 28, 28)
        labels = np.concatenate([data[f"{part}_labels"][rows[part]] for part in rows])
        names = [str(name) for name in data["label_names"]]
    sheet = images.reshape(-1, PER_ROW, 28, 28).swapaxes(1, 2).reshape(-1, PER_ROW * 28)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(folder / "fashion_demo.png", optimize=True)
    facts = {
        "per_row": PER_ROW,
        "n_pool": len(rows["train"]),
        "classes": names,
        "labels": "".join(str(label) for label in labels),
        "official_rows": {part: rows[part].tolist() for part in rows},
    }
    (folder / "fashion_demo.json").write_text(json.dumps(facts, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
