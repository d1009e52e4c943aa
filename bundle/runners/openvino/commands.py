"""A command that looks into a network: what OpenVINO computes on the way."""

from __future__ import annotations

from bundle.commands import BundleCommand


def _values(settings: str, picture: str, names: str, out: str) -> None:
    import json

    import numpy as np

    from bundle.runners.openvino.session import values
    from bundle.tensors import read_settings

    with open(names, encoding="utf-8") as stream:
        wanted = json.load(stream)
    found = values(read_settings(settings), np.load(picture), wanted)
    np.savez(out, names=np.array(list(found)), **{str(n): a for n, a in enumerate(found.values())})


COMMANDS = [
    BundleCommand(
        "openvino-values",
        "write values inside a network, as OpenVINO computes them, to an .npz file",
        ("settings", "picture", "names", "out"),
        _values,
    ),
]
