"""A stand-in for aclruntime, the Python module of ais_infer: the same names, argument order and
errors (Ascend/tools, ais-bench_workload/tool/ais_infer/backend/python). It does not use a chip.

What it is like depends on the revision that it stands for: personality.json beside this file, from
personalities.toml.

    session = InferenceSession(model_path, device_id, session_options())
    outputs = session.run([names], [Tensor(array)])

Its times are those of the reference executor on this machine's CPU and are meaningless.
"""

import ctypes
import json
import os
import stat
import sys
import time

import numpy as np

ASCEND = "/usr/local/Ascend"
for _site in ("nnrt", "ascend-toolkit"):
    _folder = os.path.join(ASCEND, _site, "latest", "simulator")
    if os.path.isdir(_folder):
        # After the image's own packages, so that their numpy comes first.
        sys.path += [_folder, os.path.join(_folder, "packages")]
        break

from cann_stand_in import SIMULATED, om  # noqa: E402, F401
from cann_stand_in.network import SimulatedNetwork  # noqa: E402

with open(os.path.join(os.path.dirname(__file__), "personality.json"), encoding="utf-8") as _file:
    _PERSONALITY = json.load(_file)
_C = ctypes.CDLL(None)
# From onnx's type numbers to aclruntime's (TensorBase.h).
_TYPES = {1: 0, 10: 1, 3: 2, 6: 3, 2: 4, 7: 9}
_NUMPY = {0: np.float32, 1: np.float16, 2: np.int8, 3: np.int32, 4: np.uint8, 9: np.int64}


def _say(text):
    """Prints as the real one does, from C: it stays in C's buffer until that is full or flushed."""
    _C.puts(text.encode())


def _error(code, text):
    known = {
        1: "ACL: invalid parameter",
        3: "ACL: runtime failure",
        6: "ACL: fail to load operator",
    }
    _say("[ERROR] {}".format(text))
    return RuntimeError("[{}][{}] ".format(code, known.get(code, "Error code unknown")))


class session_options:  # noqa: N801  the module's own name
    """Options of a session."""

    def __init__(self):
        self.loop = 1
        self.log_level = 2
        self.acl_json_path = ""


class tensor_desc:  # noqa: N801  the module's own name
    """The description of an input or output."""

    def __init__(self, name="", datatype=0, format=0, shape=(), size=0):
        self.name = name
        self.datatype = datatype
        self.format = format
        self.shape = list(shape)
        self.size = size
        self.realsize = size


class sumary:  # noqa: N801  the module's own name and spelling
    """The times of executions, as a revision tells them."""

    def __init__(self):
        for name, start in _TIMES[_PERSONALITY["times"]][0].items():
            setattr(self, name, type(start)(start))

    def _add(self, began, ended):
        _TIMES[_PERSONALITY["times"]][1](self, began * 1000.0, ended * 1000.0)


def _add_total(one, began, ended):
    one.exec_time += ended - began
    one.exec_count += 1


# For each way to tell times: the attributes, and how an execution is added.
_TIMES = {
    "total": ({"exec_time": 0.0, "exec_count": 0}, _add_total),
    "list": ({"exec_time_list": []}, lambda one, b, e: one.exec_time_list.append(e - b)),
    "pairs": ({"exec_time_list": []}, lambda one, b, e: one.exec_time_list.append((b, e))),
}


class Tensor:
    """An array on the host or on a device."""

    def __init__(self, array):
        self._array = np.array(memoryview(array), copy=True)
        self.device = -1

    def to_device(self, device):
        self.device = device

    def to_host(self):
        self.device = -1

    def __array__(self, dtype=None, copy=None):
        if self.device >= 0:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return self._array if dtype is None else self._array.astype(dtype)

    @property
    def shape(self):
        return list(self._array.shape)


class InferenceSession:
    """A model on a device: the model's path comes first."""

    def __init__(self, model_path, device_id, options):
        self._options = options
        self._device = int(device_id)
        soc = _open_device(self._device)
        self._model = _load(str(model_path), soc)
        facts = self._model.facts
        self._gears = [tuple(gear) for gear in facts.get("gears", [])]
        self._gear = None if self._gears else ()
        self._inputs = [_describe(one, self._gears) for one in facts["inputs"]]
        if self._model.bytes_in:
            one = self._inputs[0]
            n, c, h, w = one.shape
            self._inputs[0] = tensor_desc(one.name, 4, 1, (n, h, w, c), n * h * w * c)
        self._outputs = [_describe(one) for one in facts["outputs"]]
        self._tensors = {one["name"]: one["tensor"] for one in facts["outputs"]}
        self._sumary = sumary()
        self._feeds = None
        self._results = None
        if options.log_level <= 2:
            _say("[INFO] load model {} success".format(model_path))

    def get_inputs(self):
        return self._inputs

    def get_outputs(self):
        return self._outputs

    def options(self):
        return self._options

    def sumary(self):
        return self._sumary

    def reset_sumaryinfo(self):
        self._sumary = sumary()
        return 0

    def set_staticbatch(self):
        self._gear = None if self._gears else ()
        return 0

    def set_dynamic_hw(self, width, height):
        # The real one calls them so, and compares the first with a gear's height.
        if not self._gears:
            raise _error(
                1, "the dynamic_image_size parameter is not specified for model conversion"
            )
        if (width, height) not in self._gears:
            raise _error(1, "the dymHW parameter is not correct")
        self._gear = (width, height)
        largest = max(rows * columns for rows, columns in self._gears)
        for one in self._inputs:
            if -1 in one.shape:
                one.realsize = one.size * width * height // largest
        return 0

    def run(self, outnames, feeds):
        self._set_inputs(feeds)
        self._execute(self._options.loop)
        return self._get_outputs(outnames)

    def _set_inputs(self, feeds):
        if self._gear is None:
            raise _error(3, "model execute failed, ret[145000]: no size of the input is set")
        if isinstance(feeds, dict):
            missing = [one.name for one in self._inputs if one.name not in feeds]
            if missing:
                raise _error(1, "intensors name:{} not find".format(missing[0]))
            feeds = [feeds[one.name] for one in self._inputs]
        if len(feeds) != len(self._inputs):
            raise _error(
                1, "intensors in:{} need:{} not match".format(len(feeds), len(self._inputs))
            )
        for index, (tensor, one) in enumerate(zip(feeds, self._inputs)):
            size = tensor._array.nbytes
            if size != one.realsize:
                raise _error(
                    1,
                    "Check i:{} name:{} in size:{} needsize:{} not match".format(
                        index, one.name, size, one.realsize
                    ),
                )
        self._feeds = {
            # The device sees only bytes: an array of another type is reinterpreted.
            one.name: tensor._array.view(_NUMPY[one.datatype]).reshape(self._sized(one.shape))
            for tensor, one in zip(feeds, self._inputs)
        }
        return 0

    def _sized(self, shape):
        """A shape with the gear's sizes where it is open."""
        sizes = iter(self._gear)
        return [next(sizes) if size == -1 else size for size in shape]

    def _execute(self, loop=1):
        for _ in range(loop):
            began = time.perf_counter()
            self._results = self._model.run(self._feeds, self._gear)
            self._sumary._add(began, time.perf_counter())
        return 0

    def _get_outputs(self, outnames):
        outputs = []
        first = self._inputs[0]
        for name in outnames:
            array = np.ascontiguousarray(self._results[self._tensors[name]])
            if first.realsize != first.size:
                # Some revisions divide the outputs' bytes by this ratio, whatever their shape
                # (ModelProcess.cpp, GetOutTensorLen).
                count = array.size * first.realsize // first.size
                array = np.ascontiguousarray(array.reshape(-1)[:count])
            tensor = Tensor(array)
            tensor.to_device(self._device)
            outputs.append(tensor)
        return outputs

    def __repr__(self):
        return "<Model>\ndevice:\t{}\n(simulated)".format(self._device)


if _PERSONALITY["steps"]:
    InferenceSession.run_setinputs = InferenceSession._set_inputs
    InferenceSession.run_execute = InferenceSession._execute
    InferenceSession.run_getoutputs = InferenceSession._get_outputs


def _describe(one, gears=()):
    """Of an input with gears, the size is that of the largest."""
    shape = one["shape"]
    datatype = _TYPES[one["dtype"]]
    fixed = int(np.prod([size for size in shape if size != -1]))
    if -1 in shape:
        fixed *= max(rows * columns for rows, columns in gears)
    size = fixed * np.dtype(_NUMPY[datatype]).itemsize
    return tensor_desc(one["name"], datatype, 0, shape, size)


def _open_device(device):
    """The simulated chip's soc."""
    path = os.path.join(ASCEND, "driver", "simulated.json")
    try:
        with open(path, encoding="utf-8") as file:
            simulated = json.load(file)
    except OSError:
        raise _error(507033, "acl open device {} failed".format(device)) from None
    if device >= simulated["chips"]:
        raise _error(107001, "acl open device {} failed".format(device))
    if not os.path.exists("/dev/davinci{}".format(device)):
        raise _error(507033, "acl open device {} failed".format(device))
    return simulated["soc"]


def _load(path, soc):
    failed = "load model from file failed, model file is {}".format(path)
    if _PERSONALITY["strict_om"]:
        others = os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others or not path.endswith(".om"):
            _say("[ERROR] model path illegal, please check.")
            raise RuntimeError("please check model path")
    try:
        facts, graphs, aipp = om.read(path)
    except (OSError, ValueError) as error:
        _say("EE4000: [om] {}".format(error))
        raise _error(1, failed) from None
    if facts["soc_version"] != soc:
        text = "EE4000: [om] the model was built for {}, the device is {}"
        _say(text.format(facts["soc_version"], soc))
        raise _error(1, failed)
    return SimulatedNetwork(facts, graphs, aipp)
