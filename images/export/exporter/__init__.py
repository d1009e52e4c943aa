"""Exports an mmdet checkpoint to a neutral ONNX graph, with PyTorch's own detections.

Runs in the export environment (Python 3.7, torch 1.7.0, mmdet 2.8.0, mmcv-full 1.2.4) and
modifies no installed file: what has to behave differently is patched inside a `with` block.
"""

#: Format version of the files that this package writes (export.json and the reference files).
FORMAT = 2
