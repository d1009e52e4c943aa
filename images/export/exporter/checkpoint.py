"""Loads a checkpoint key by key; a mismatch is an error that names the keys."""

import hashlib
import os

import torch

from . import tensors
from .errors import ExportError

#: Counters of batch norms for training; inference does not read them.
IGNORED = ".num_batches_tracked"


def sha256_of(path):
    """The sha256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_digest(path, expected):
    """The file's sha256; ExportError if it does not start with the digits in `expected`."""
    found = sha256_of(path)
    if expected and not found.startswith(expected.lower()):
        raise ExportError(
            "The checkpoint is not the requested file: its sha256 is {}; expected is {}{}.".format(
                found, expected, "..." if len(expected) < 64 else ""
            ),
            where=path,
            next="Download it again; it has not been loaded.",
        )
    return found


def read(path):
    """The state dict in a checkpoint file, either bare or as saved by mmcv's runner."""
    try:
        tensors.check_container(path)
        content = torch.load(path, map_location="cpu", pickle_module=tensors)
    except tensors.Refused as error:
        raise ExportError(
            "The checkpoint has not been read: {}. A checkpoint is a pickle, and reading this one "
            "would do more than build tensors.".format(error),
            where=path,
            next="Do not trust the file: take it from its publisher and compare its sha256. Of a "
            "model of your own, save the weights only: "
            "torch.save({'state_dict': model.state_dict()}, file).",
        ) from error
    except Exception as error:  # a broken pickle or archive can raise almost anything
        raise ExportError(
            "The checkpoint cannot be read ({}: {}): it is truncated, or not a PyTorch checkpoint. "
            "It has {:,} bytes.".format(
                type(error).__name__, str(error).split("\n")[0], os.path.getsize(path)
            ),
            where=path,
            next="Download it again and compare its sha256.",
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state:
        raise ExportError("The checkpoint contains no weights.", where=path)
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ExportError(
            "The checkpoint is a pickled object, not a dictionary of tensors.", where=path
        )
    return state


def renamed(key):
    """The current name of a key: early mmdet releases had the offsets beside the convolution."""
    for layer in ("conv1", "conv2", "conv3"):
        key = key.replace("." + layer + "_offset.", "." + layer + ".conv_offset.")
    return key[len("module.") :] if key.startswith("module.") else key


def load(model, path):
    """Loads the weights in `path` into `model`; every key and every shape must match."""
    given = {renamed(key): value for key, value in read(path).items()}
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in given and not key.endswith(IGNORED)]
    unexpected = [key for key in given if key not in wanted and not key.endswith(IGNORED)]
    shapes = [
        "{} is {}, the model has {}".format(key, tuple(value.shape), tuple(wanted[key].shape))
        for key, value in given.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    if missing or unexpected or shapes:
        parts = [_named("missing", missing), _named("unexpected", unexpected)]
        parts += [_named("with another shape", shapes)]
        raise ExportError(
            "The checkpoint does not match the config: "
            + "; ".join(part for part in parts if part)
            + ".",
            where=path,
            next="Use the config that the checkpoint was trained with.",
        )
    broken = [key for key, value in given.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ExportError(
            "The checkpoint contains values that are not finite: " + _named("keys", broken),
            where=path,
            next="The training diverged: use an earlier checkpoint.",
        )
    model.load_state_dict(given, strict=False)


def _named(what, keys, shown=8):
    if not keys:
        return ""
    more = ", and {} more".format(len(keys) - shown) if len(keys) > shown else ""
    return "{} {} ({}{})".format(len(keys), what, ", ".join(keys[:shown]), more)
