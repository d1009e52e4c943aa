"""A stand-in for aclruntime, the Python module of ais_infer: the same names, argument order and
errors (Ascend/tools, ais-bench_workload/tool/ais_infer/backend/python). It does not use a chip.

    session = InferenceSession(model_path, device_id, session_options())
    outputs = session.run([names], [Tensor(array)])

Its times are those of the reference executor on this machine's CPU and are meaningless.
"""

import json
import os
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

__version__ = "0.0.2"
# From onnx's type numbers to aclruntime's (TensorBase.h).
_TYPES = {1: 0, 10: 1, 3: 2, 6: 3, 2: 4, 7: 9}
_NUMPY = {0: np.float32, 1: np.float16, 2: np.int8, 3: np.int32, 4: np.uint8, 9: np.int64}


def _error(code, text):
    known = {
        1: "ACL: invalid parameter",
        3: "ACL: runtime failure",
        6: "ACL: fail to load operator",
    }
    print("[ERROR] {}".format(text), flush=True)
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
    """The milliseconds of every execution."""

    def __init__(self):
        self.exec_time_list = []


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
        self._inputs = [_describe(one) for one in facts["inputs"]]
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
            print("[INFO] load model {} success".format(model_path), flush=True)

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
        return 0

    def run(self, outnames, feeds):
        self.run_setinputs(feeds)
        self.run_execute(self._options.loop)
        return self.run_getoutputs(outnames)

    def run_setinputs(self, feeds):
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
            one.name: tensor._array.view(_NUMPY[one.datatype]).reshape(one.shape)
            for tensor, one in zip(feeds, self._inputs)
        }
        return 0

    def run_execute(self, loop=1):
        for _ in range(loop):
            began = time.perf_counter()
            self._results = self._model.run(self._feeds)
            self._sumary.exec_time_list.append((time.perf_counter() - began) * 1000.0)
        return 0

    def run_getoutputs(self, outnames):
        outputs = []
        for name in outnames:
            tensor = Tensor(np.ascontiguousarray(self._results[self._tensors[name]]))
            tensor.to_device(self._device)
            outputs.append(tensor)
        return outputs

    def __repr__(self):
        return "<Model>\ndevice:\t{}\n(simulated)".format(self._device)


def _describe(one):
    shape = one["shape"]
    datatype = _TYPES[one["dtype"]]
    size = int(np.prod(shape)) * np.dtype(_NUMPY[datatype]).itemsize
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
    try:
        facts, graph, aipp = om.read(path)
    except (OSError, ValueError) as error:
        print("EE4000: [om] {}".format(error), flush=True)
        raise _error(1, failed) from None
    if facts["soc_version"] != soc:
        print(
            "EE4000: [om] the model was built for {}, the device is {}".format(
                facts["soc_version"], soc
            ),
            flush=True,
        )
        raise _error(1, failed)
    return SimulatedNetwork(facts, graph, aipp)
