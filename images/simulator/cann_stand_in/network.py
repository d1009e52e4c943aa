"""The network of a stand-in's om file, run by onnxruntime on the CPU."""

import re

import numpy as np
import onnxruntime


class SimulatedNetwork:
    """A loaded network.

    Args:
        facts: The metadata of the om file.
        graphs: The executable graphs' bytes by gear (rows, columns), or by () without gears.
        aipp: The text of the AIPP configuration; None: the input is float32 NCHW.
    """

    def __init__(self, facts, graphs, aipp):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.facts = facts
        self.bytes_in = aipp is not None
        self._aipp = Aipp(aipp) if aipp is not None else None
        self._sessions = {
            gear: onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            for gear, graph in graphs.items()
        }

    def run(self, feeds, gear=()):
        """Runs the network: {input: array} to {tensor: array}."""
        if self._aipp is not None:
            feeds = {name: self._aipp.normalise(array) for name, array in feeds.items()}
        names = [one["tensor"] for one in self.facts["outputs"]]
        return dict(zip(names, self._sessions[gear].run(names, feeds)))


class Aipp:
    """AIPP's normalisation: (byte - mean - min) * reciprocal, in float16."""

    def __init__(self, text):
        values = dict(re.findall(r"(\w+)\s*:\s*([\w.+-]+)", text))

        def channels(name, default):
            found = [float(values.get("{}_{}".format(name, index), default)) for index in range(3)]
            return np.array(found, np.float16).astype(np.float32)

        self._shift = channels("mean_chn", 0) + channels("min_chn", 0)
        self._factor = channels("var_reci_chn", 1)
        self._swap = values.get("rbuv_swap_switch") == "true"

    def normalise(self, array):
        """Bytes (1,H,W,3) to float32 (1,3,H,W), rounded to float16."""
        if self._swap:
            array = array[..., ::-1]
        result = ((array.astype(np.float32) - self._shift) * self._factor).astype(np.float16)
        return np.ascontiguousarray(result.astype(np.float32).transpose(0, 3, 1, 2))
