"""A stand-in for ais_infer, the vendor's command line for aclruntime: the same flags, file names,
output lines and sumary.json as Ascend/tools, ais-bench_workload/tool/ais_infer (September 2022).

python3 ais_infer.py --model network.om --input FOLDER --output FOLDER [--outfmt BIN] [--device 0]
"""

import argparse
import json
import os
import re
import sys
import time

import aclruntime
import numpy as np

_KINDS = {0: np.float32, 1: np.float16, 2: np.int8, 3: np.int32, 4: np.uint8, 9: np.int64}


def info(text):
    print("[INFO] {}".format(text), flush=True)


def fail(text):
    print("[ERROR] {}".format(text), flush=True)
    raise RuntimeError()


def arguments():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--model", "--om", required=True)
    add("--input", "-i")
    add("--output", "-o")
    add("--output_dirname")
    add("--outfmt", default="BIN", choices=["NPY", "BIN", "TXT"])
    add("--loop", "-r", type=int, default=1)
    add("--debug", default="False")
    add("--device", type=int, default=0, choices=range(255), metavar="DEVICE")
    add("--dymBatch", type=int, default=0)
    for name in ("--dymHW", "--dymDims", "--dymShape", "--outputSize", "--acl_json_path"):
        add(name)
    add("--batchsize", type=int, default=1)
    add("--pure_data_type", default="zero", choices=["zero", "random"])
    add("--profiler", action="store_true")
    add("--dump", action="store_true")
    add("--infer_queue_count", type=int, default=20)
    given = parser.parse_args()
    if given.dymBatch or given.dymHW or given.dymDims or given.dymShape:
        fail("the network has one static shape; this stand-in supports no dynamic shapes")
    return given


def natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def files_of(text, size):
    """The files of --input, each of which must be one complete input of the network."""
    if not text:
        return ["pure_infer_data"]
    if os.path.isdir(text):
        names = sorted(os.listdir(text), key=natural)
        found = [os.path.join(text, name) for name in names if name.endswith((".bin", ".npy"))]
    else:
        found = text.split(",")
    for path in found:
        if not os.path.isfile(path):
            fail("filepath:{} not valid".format(path))
        if path.endswith(".bin") and os.path.getsize(path) != size:
            fail("arg0 tensorsize: {} filesize: {} not match".format(size, os.path.getsize(path)))
    return found


def content(path, size):
    if path == "pure_infer_data":
        return np.zeros(size, np.uint8)
    return np.load(path) if path.endswith(".npy") else np.fromfile(path, np.uint8)


def save(array, path, outfmt):
    if outfmt == "NPY":
        np.save(path, array)
    elif outfmt == "TXT":
        np.savetxt(path, array.reshape(-1, array.shape[-1] if array.ndim else 1))
    else:
        array.tofile(path)


def statistics(times):
    if not times:
        times = [0.0]
    return {
        "min": float(np.min(times)),
        "max": float(np.max(times)),
        "mean": float(np.mean(times)),
        "median": float(np.median(times)),
        "percentile(99%)": float(np.percentile(times, 99)),
    }


class TimedSession:
    """A loaded network that records the times of its copies."""

    def __init__(self, given):
        options = aclruntime.session_options()
        options.loop = given.loop
        self._session = aclruntime.InferenceSession(given.model, given.device, options)
        self._session.set_staticbatch()
        self._device = given.device
        self._names = [one.name for one in self._session.get_outputs()]
        (self._input,) = self._session.get_inputs()
        self.size = self._input.realsize
        self.h2d, self.d2h = [], []
        self.run(np.zeros(self.size, np.uint8))
        self.h2d.clear()
        self.d2h.clear()
        self._session.reset_sumaryinfo()
        info("warm up 1 times done")

    def run(self, array):
        began = time.time()
        tensor = aclruntime.Tensor(array)
        tensor.to_device(self._device)
        self.h2d.append((time.time() - began) * 1000.0)
        outputs = self._session.run(self._names, [tensor])
        began = time.time()
        for one in outputs:
            one.to_host()
        self.d2h.append((time.time() - began) * 1000.0)
        return [np.array(one) for one in outputs]

    @property
    def times(self):
        return list(self._session.sumary().exec_time_list)


def main():
    given = arguments()
    session = TimedSession(given)
    folder = None
    if given.output:
        name = given.output_dirname or time.strftime("%Y_%m_%d-%H_%M_%S")
        folder = os.path.join(given.output, name)
        # Like the real one, this requires the folder in --output to exist.
        os.mkdir(folder, 0o755)
        info("output path:{}".format(folder))
    listed = {}
    for number, path in enumerate(files_of(given.input, session.size)):
        outputs = session.run(content(path, session.size))
        stem = os.path.basename(path).split(".")[0]
        listed[number] = {"infiles": [path], "outfiles": []}
        for index, array in enumerate(outputs if folder else []):
            target = "{}_{}.{}".format(os.path.join(folder, stem), index, given.outfmt.lower())
            save(array, target, given.outfmt)
            listed[number]["outfiles"].append(target)
    report(given, session, listed, folder)


def report(given, session, listed, folder):
    summary = {
        "filesinfo": listed,
        "args": sys.argv,
        "NPU_compute_time": statistics(session.times),
        "H2D_latency": statistics(session.h2d),
        "D2H_latency": statistics(session.d2h),
    }
    mean = summary["NPU_compute_time"]["mean"]
    summary["throughput"] = 1000 * given.batchsize / mean if mean else 0
    info("-----------------Performance Summary------------------")
    for key in ("H2D_latency", "NPU_compute_time", "D2H_latency"):
        values = ", ".join("{} = {}".format(*one) for one in summary[key].items())
        info("{} (ms): {}".format(key, values))
    line = "throughput 1000*batchsize({})/NPU_compute_time.mean({}): {}"
    info(line.format(given.batchsize, mean, summary["throughput"]))
    info("------------------------------------------------------")
    if folder is not None:
        with open(os.path.join(folder, "sumary.json"), "w", encoding="utf-8") as file:
            json.dump(summary, file)


if __name__ == "__main__":
    main()
