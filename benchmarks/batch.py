"""What a batch would gain: the part of the R101 that could take one, at batch 1 and 2, on a CPU.

Backbone, FPN and the RPN's convolutions are cut out of the lowered graph of benchmarks/r101.py;
what follows them (top-k, NMS, lists of RoIs) has another length for every picture.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "benchmarks"), str(REPOSITORY / "scripts")]

import r101  # noqa: E402
from cascadeport import backends  # noqa: E402

BATCHES, ROUNDS = (1, 2), 3


def dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """The part before the first operator that depends on the picture's content.

    Its outputs are the pyramid's levels, which RoiAlign reads, and what the RPN's two heads give,
    which a Transpose reads.
    """
    readers = ("RoiAlign", "Transpose")
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    ends = {
        node.input[0]
        for node in model.graph.node
        if node.op_type in readers and made_by.get(node.input[0]) == "Conv"
    }
    kind = onnx.TensorProto.FLOAT
    model.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(name, kind, None) for name in ends
    )
    part = onnx.utils.Extractor(model).extract_model(["input"], sorted(ends))
    part.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del part.graph.value_info[:]
    return part


def main() -> None:
    r101.export()
    lowered = r101.EXPORT / "onnxruntime.onnx"
    backends.lowering("onnxruntime").lower(r101.EXPORT / "neutral.onnx", lowered)
    part = dense(onnx.load(lowered))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with np.load(r101.EXPORT / "reference" / "01.npz") as stored:
        picture = stored["input"]
    seconds: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    single = None
    for turn in range(ROUNDS + 1):
        for batch in BATCHES:
            feeds = {"input": np.repeat(picture, batch, axis=0)}
            began = time.process_time()
            found = session.run(None, feeds)
            if turn:  # the first one warms up
                seconds[batch].append((time.process_time() - began) / batch)
            if single is None:
                single = found
            worst = max(
                float(np.abs(one - other[:1]).max() / np.abs(one).max())
                for one, other in zip(single, found, strict=True)
            )
            assert worst < 1e-3, "a batch gives other numbers"
    middle = {batch: statistics.median(values) for batch, values in seconds.items()}
    print("## A batch of the R101 at 1216 x 1216 on this CPU\n")
    print(
        f"Backbone, FPN and the RPN's convolutions in onnxruntime, {options.intra_op_num_threads} "
        f"threads, medians of {ROUNDS} rounds in turn.\n"
    )
    print("| batch | CPU s per picture |\n| ---: | ---: |")
    for batch, value in middle.items():
        print(f"| {batch} | {value:.2f} |")
    print(
        f"\nA batch of two takes {middle[2] / middle[1]:.2f} x the CPU seconds per picture of a "
        "batch of one (docs/export.md says why none is exported)."
    )


if __name__ == "__main__":
    main()
