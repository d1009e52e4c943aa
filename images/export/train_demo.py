"""Trains the demo model on scenes. Runs in the export environment; see docs/demo.md.

Usage:
    python images/export/train_demo.py --train FOLDER --test FOLDER --out FOLDER
    python images/export/train_demo.py --test FOLDER --evaluate models/demo/demo.pth \
        --detections models/demo/reference.json
"""

import argparse
import json
import math
import os
import random
import sys
import time

import cv2
import numpy as np
import torch
from mmcv import Config
from mmdet.models import build_detector
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Otherwise glibc returns freed memory to the kernel and page-faults it in again at every step:
# four times slower. It reads these settings at startup only.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from exporter.deform import deform_conv2d, deform_conv_as  # noqa: E402

SIZE = 256
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


class SceneDataset:
    """A folder in COCO layout, decoded and resized once and kept in memory as bytes."""

    def __init__(self, folder):
        self.annotations = os.path.join(folder, "annotations", "instances_val2017.json")
        with open(self.annotations) as file:
            content = json.load(file)
        self.category_ids = [category["id"] for category in content["categories"]]
        self.names = [category["name"] for category in content["categories"]]
        objects = {}
        for annotation in content["annotations"]:
            objects.setdefault(annotation["image_id"], []).append(annotation)
        self.items = []
        for image in content["images"]:
            path = os.path.join(folder, "val2017", image["file_name"])
            picture = cv2.imread(path)
            if picture is None or picture.shape[:2] != (image["height"], image["width"]):
                raise SystemExit("%s: not the picture that the annotations describe" % path)
            self.items.append(self._item(image, picture, objects.get(image["id"], [])))

    def _item(self, image, picture, objects):
        height, width = picture.shape[:2]
        scale = SIZE / max(height, width)
        new = (int(width * scale + 0.5), int(height * scale + 0.5))
        resized = cv2.resize(picture, new, interpolation=cv2.INTER_LINEAR)
        left, top = (SIZE - new[0]) // 2, (SIZE - new[1]) // 2
        scales = np.array([new[0] / width, new[1] / height] * 2, np.float32)
        boxes, labels, crowds = [], [], []
        for annotation in objects:
            x, y, w, h = annotation["bbox"]
            box = np.array([x, y, x + w, y + h], np.float32) * scales + [left, top, left, top]
            if annotation["iscrowd"]:
                crowds.append(box)
            else:
                boxes.append(box)
                labels.append(self.category_ids.index(annotation["category_id"]))
        return {
            "id": image["id"],
            "pixels": resized,
            "left": left,
            "top": top,
            "scales": scales,
            "width": width,
            "height": height,
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "labels": np.array(labels, np.int64),
            "crowds": np.array(crowds, np.float32).reshape(-1, 4),
        }


def network_input(item):
    """The float32 (3,256,256) input: normalised, then padded with zeros, centred."""
    rgb = item["pixels"][:, :, ::-1].astype(np.float32)
    canvas = np.zeros((SIZE, SIZE, 3), np.float32)
    height, width = rgb.shape[:2]
    rows = slice(item["top"], item["top"] + height)
    columns = slice(item["left"], item["left"] + width)
    canvas[rows, columns] = (rgb - MEAN) / STD
    return canvas.transpose(2, 0, 1)


def augment(picture, boxes, rng):
    """Mirrors half of the pictures. Each is seen about twice, so more augmentation is pointless."""
    boxes = [part.copy() for part in boxes]
    if rng.random() < 0.5:
        picture = picture[:, :, ::-1]
        for part in boxes:
            part[:, [0, 2]] = SIZE - part[:, [2, 0]]
    return np.ascontiguousarray(picture), boxes


def meta():
    shape = (SIZE, SIZE, 3)
    return {
        "img_shape": shape,
        "pad_shape": shape,
        "ori_shape": shape,
        "scale_factor": 1.0,
        "flip": False,
        "filename": "",
    }


def batch(scenes, indices, rng):
    pictures, boxes, labels, crowds = [], [], [], []
    for index in indices:
        item = scenes.items[index]
        picture, (own, ignored) = augment(network_input(item), (item["boxes"], item["crowds"]), rng)
        pictures.append(picture)
        boxes.append(torch.from_numpy(own))
        labels.append(torch.from_numpy(item["labels"]))
        crowds.append(torch.from_numpy(ignored))
    return {
        "img": torch.from_numpy(np.stack(pictures)),
        "img_metas": [meta() for _ in indices],
        "gt_bboxes": boxes,
        "gt_labels": labels,
        "gt_bboxes_ignore": crowds,
    }


def evaluate(model, scenes, limit=None, out=None):
    """COCO mAP of the model in PyTorch, computed by pycocotools.

    With `out` the detections become a file there, in COCO's results format.
    """
    model.eval()
    items = scenes.items[:limit]
    found = []
    with torch.no_grad():
        for item in items:
            picture = torch.from_numpy(network_input(item))[None]
            per_class = model.simple_test(picture, [meta()], rescale=False)[0]
            for label, rows in enumerate(per_class):
                for x0, y0, x1, y1, score in rows.tolist():
                    box = np.array([x0, y0, x1, y1]) - [item["left"], item["top"]] * 2
                    box = box / item["scales"]
                    limits = [item["width"], item["height"]] * 2
                    x0, y0, x1, y1 = np.clip(box, 0, limits).tolist()
                    found.append(
                        {
                            "image_id": item["id"],
                            "category_id": scenes.category_ids[label],
                            "bbox": [x0, y0, x1 - x0, y1 - y0],
                            "score": score,
                        }
                    )
    model.train()
    if out:
        write(out, found)
    if not found:
        return 0.0
    coco = COCO(scenes.annotations)
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.params.imgIds = [item["id"] for item in items]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def write(path, found):
    """Writes detections, one on a line; boxes to a hundredth of a pixel."""
    lines = []
    for one in found:
        box = [round(value, 2) for value in one["bbox"]]
        lines.append(json.dumps(dict(one, bbox=box, score=round(one["score"], 6))))
    with open(path, "w") as file:
        file.write("[\n%s\n]\n" % ",\n".join(lines))


def learning_rate(step, steps, peak, warmup=50):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", help="training pictures, a folder in COCO layout")
    parser.add_argument("--test", required=True, help="held-out pictures, in the same layout")
    parser.add_argument(
        "--out", help="folder for checkpoints; training resumes from an existing one"
    )
    parser.add_argument(
        "--evaluate", metavar="CHECKPOINT", help="do not train; evaluate this checkpoint"
    )
    parser.add_argument(
        "--detections", metavar="FILE", help="where --evaluate writes the detections"
    )
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--test-every", type=int, default=300)
    arguments = parser.parse_args()
    if not arguments.evaluate and not (arguments.train and arguments.out):
        parser.error("training needs --train and --out")
    return arguments


def save(path, value):
    torch.save(value, path + ".tmp")
    os.replace(path + ".tmp", path)


def main():
    arguments = parse()
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    config = Config.fromfile(os.path.join(HERE, "configs", "demo.py"))
    model = build_detector(config.model, train_cfg=config.train_cfg, test_cfg=config.test_cfg)
    if arguments.evaluate:
        model.load_state_dict(torch.load(arguments.evaluate)["state_dict"])
        scenes = SceneDataset(arguments.test)
        accuracy = evaluate(model, scenes, out=arguments.detections)
        print("held-out AP, all pictures: %.4f" % accuracy)
        return
    os.makedirs(arguments.out, exist_ok=True)
    model.init_weights()
    model.train()
    print("parameters: %d" % sum(p.numel() for p in model.parameters()))
    train, test = SceneDataset(arguments.train), SceneDataset(arguments.test)
    print("pictures: %d to train, %d held out" % (len(train.items), len(test.items)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=0.01)
    state = os.path.join(arguments.out, "state.pth")
    step = 0
    if os.path.exists(state):
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
        print("resumed after step %d" % step)
    began = time.time()
    first = step
    while step < arguments.steps:
        # The order depends only on the seed and the step, so a resumed run is the same.
        rng = random.Random(arguments.seed * 1000003 + step)
        indices = rng.sample(range(len(train.items)), arguments.batch)
        rate = learning_rate(step, arguments.steps, arguments.lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = model(return_loss=True, **batch(train, indices, rng))
        total, shown = model._parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        step += 1
        if step % 10 == 0:
            spent = time.time() - began
            print(
                "step %d/%d lr %.2e loss %.3f (rpn %.3f %.3f, s2 cls %.3f acc %.1f) %.2f s/step, "
                "%.0f min left"
                % (
                    step,
                    arguments.steps,
                    rate,
                    shown["loss"],
                    shown["loss_rpn_cls"],
                    shown["loss_rpn_bbox"],
                    shown["s2.loss_cls"],
                    shown["s2.acc"],
                    spent / (step - first),
                    (arguments.steps - step) * spent / (step - first) / 60,
                ),
                flush=True,
            )
        if step % arguments.save_every == 0:
            save(
                state,
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
            )
        if step % arguments.test_every == 0:
            print("held-out AP after %d: %.4f" % (step, evaluate(model, test, 60)), flush=True)
    print("held-out AP, all pictures: %.4f" % evaluate(model, test))
    save(
        os.path.join(arguments.out, "demo.pth"),
        {
            "meta": {
                "config": "demo",
                "CLASSES": train.names,
                "seed": arguments.seed,
                "steps": step,
            },
            "state_dict": model.state_dict(),
        },
    )


if __name__ == "__main__":
    if any(os.environ.get(key) != value for key, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **MALLOC})
    with deform_conv_as(deform_conv2d):
        main()
