"""What mmdet 2.8.0's own test pipeline and `simple_test` detect. Runs in .venv-export.

`mmdet_own.py CONFIG CHECKPOINT LONG SHORT OUT PICTURE...` writes OUT as the exporter writes its
folder (export.json, reference/NN.npz), without a graph: for each picture the input that mmdet's
pipeline makes of the file, in a shape of its own, what mmdet detects in it, and what it detects
when only rounding differs. mmdet is told what its pipeline says of the picture: `img_shape` is the
picture without its padding.
"""

import json
import sys
from pathlib import Path

import numpy as np
from mmdet.datasets.pipelines import Compose

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images" / "export"))
from exporter import FORMAT, checkpoint, noise, reference
from exporter import model as models

NOISE_RUNS = 3


def pipeline(cfg, edges):
    """The config's test pipeline at another scale."""
    mean, std, to_rgb = models.normalisation(cfg)
    return Compose(
        [
            {"type": "LoadImageFromFile"},
            {
                "type": "MultiScaleFlipAug",
                "img_scale": edges,
                "flip": False,
                "transforms": [
                    {"type": "Resize", "keep_ratio": True},
                    {"type": "RandomFlip"},
                    {"type": "Normalize", "mean": mean, "std": std, "to_rgb": to_rgb},
                    {"type": "Pad", "size_divisor": 32},
                    {"type": "ImageToTensor", "keys": ["img"]},
                    {"type": "Collect", "keys": ["img"]},
                ],
            },
        ]
    )


def main(config, weights, long, short, out, *files):
    cfg = models.load_config(config)
    model = models.build(cfg)
    checkpoint.load(model, weights)
    prepare = pipeline(cfg, (int(long), int(short)))
    folder = Path(out)
    (folder / "reference").mkdir(parents=True)
    listed = []
    for number, file in enumerate(files):
        made = prepare({"img_info": {"filename": file}, "img_prefix": None})
        picture = np.ascontiguousarray(made["img"][0].numpy()[np.newaxis])
        meta = made["img_metas"][0].data
        assert tuple(meta["pad_shape"][:2]) == picture.shape[2:]
        inside = meta["img_shape"][:2]
        boxes, labels = reference.detect(model, picture, inside)
        arrays = {"input": picture, "boxes": boxes, "labels": labels}
        runs = noise.runs(model, picture, NOISE_RUNS, inside) if len(boxes) else []
        for index, (others, classes) in enumerate(runs):
            arrays[f"noise{index}_boxes"] = others
            arrays[f"noise{index}_labels"] = classes
        name = f"reference/{number:02d}.npz"
        np.savez(str(folder / name), **arrays)
        listed.append(
            {
                "name": Path(file).name,
                "file": name,
                "traced": False,
                "detections": len(boxes),
                "shape": list(picture.shape[2:]),
                "inside": list(inside),
            }
        )
    cuts = model.roi_head.test_cfg
    record = {
        "format": FORMAT,
        "pictures": listed,
        "noise": noise.names(NOISE_RUNS),
        "cuts": {"score": float(cuts.score_thr), "count": int(cuts.max_per_img)},
    }
    (folder / "export.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
