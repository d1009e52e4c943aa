"""From an mmdet checkpoint to one neutral ONNX graph and what PyTorch itself detects.

Runs in the export environment (Python 3.7, torch 1.7.0, mmdet 2.8.0, mmcv-full 1.2.4) and
patches no installed file: what has to behave differently does so inside a `with` block.
"""

#: Version of the files that this package writes (export.json and the reference files).
FORMAT = 2
