"""Unpickles checkpoints without running what they contain: a `pickle_module` for torch.load.

A pickle is a program: it names functions, and unpickling calls them. torch 1.7 calls whatever it is
told. Here a pickle may name only what tensors, ordered dictionaries and numbers are made of;
anything else is refused by its name before it is imported.
"""

import collections
import pickle
import tarfile
import zipfile

import numpy
import torch

_STORAGES = (
    "DoubleStorage", "FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage",
    "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage",
)  # fmt: skip


class Refused(pickle.UnpicklingError):
    """The pickle names something that is no part of a tensor."""


def _tensor(storage, offset, size, stride, *_):
    """A view of a storage; torch would let it reach beyond the storage's end, and enlarge that."""
    size, stride = tuple(size), tuple(stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    whole = len(size) == len(stride) and offset >= 0 and min(size + stride + (0,)) >= 0
    if not whole or (0 not in size and last >= len(storage)):
        raise Refused("a tensor reaches beyond its numbers")
    return torch.tensor([], dtype=storage.dtype).set_(storage, offset, size, stride)


def _parameter(data, *_):
    """The tensor of a parameter."""
    return data


def _number(dtype, content):
    """A number of numpy, as training hooks leave them in `meta`."""
    if dtype.hasobject:
        raise Refused("a number of type object")
    return numpy.frombuffer(content, dtype, 1)[0]


def _bytes(text, encoding="latin1"):
    """Bytes as protocol 2 writes them."""
    return text.encode("latin1")


_ADMITTED = {
    ("_codecs", "encode"): _bytes,
    ("__builtin__", "set"): set,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("numpy", "dtype"): numpy.dtype,
    ("numpy.core.multiarray", "scalar"): _number,
}
for _kind in _STORAGES:
    _ADMITTED["torch", _kind] = getattr(torch, _kind)


class Unpickler(pickle._Unpickler):
    """Builds tensors, ordered dictionaries and Python's own values; nothing else.

    It is Python's own unpickler in Python: of the one in C, single instructions cannot be changed.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module, name):
        """What a pickle means by a name. Refused, unless it belongs to tensors."""
        try:
            return _ADMITTED[module, name]
        except (KeyError, TypeError):
            raise Refused("it names {}.{}".format(module, name)) from None

    def load_build(self):
        """Sets attributes: of ordered dictionaries, and the byte order of a number's type."""
        if not isinstance(self.stack[-2], (collections.OrderedDict, numpy.dtype)):
            raise Refused("it changes a " + type(self.stack[-2]).__name__)
        pickle._Unpickler.load_build(self)

    dispatch[pickle.BUILD[0]] = load_build


def load(file, **options):
    """As pickle.load."""
    return Unpickler(file, **options).load()


def check_container(path):
    """Raises Refused for the kinds of file that torch.load reads without the unpickler."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.split("/")[-1] == "constants.pkl" for name in names):
            raise Refused("it is a TorchScript archive, which contains a program")
    elif tarfile.is_tarfile(path):
        raise Refused("it is a tar archive, which only torch before 0.2 wrote")
