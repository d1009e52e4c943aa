"""A stand-in for the vendor's command line for aclruntime: the same flags, file names, output lines
and summary as a revision of it has (personality.json beside this file, from personalities.toml).

python3 ais_infer.py --model network.om --input FOLDER --output FOLDER [--outfmt BIN] [--device 0]
python3 -m ais_bench --model ...
"""

import argparse
import importlib.metadata
import json
import os
import re
import stat
import sys
import time

import aclruntime
import numpy as np

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "personality.json")) as _file:
    PERSONALITY = json.load(_file)
# What a tool makes of exec_time_list. One that is given a list of another time fails, as it would.
MILLISECONDS = {
    "list": lambda times: list(times),
    "pairs": lambda times: [ended - began for began, ended in times],
}
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# For each use of a path, the mode that it must not have (common/path_security_check.py).
NOT_PERMITTED = {"read": OTHERS_WRITE, "write": OTHERS_WRITE | stat.S_IROTH | stat.S_IXOTH}


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
    add("--outfmt", default="BIN", choices=["NPY", "BIN", "TXT"])
    add("--loop", "-r", type=int, default=1)
    # From 2022-07 on it takes a value.
    add("--debug", nargs="?", default="False")
    add("--device", type=int, default=0, choices=range(255), metavar="DEVICE")
    add("--dymBatch", type=int, default=0)
    for name in ("--dymHW", "--dymDims", "--dymShape", "--outputSize", "--acl_json_path"):
        add(name)
    add("--batchsize", type=int, default=1)
    add("--pure_data_type", default="zero", choices=["zero", "random"])
    for name in PERSONALITY["flags"]:
        add(name, nargs="?", const=True)
    given = parser.parse_args()
    if PERSONALITY["strict"]:
        check_path(given.model, "read", ".om")
        for path in (given.input or "").split(","):
            check_path(path, "read")
        check_path(given.output, "write")
    if given.dymBatch or given.dymHW or given.dymDims or given.dymShape:
        fail("the network has one static shape; this stand-in supports no dynamic shapes")
    return given


def check_path(path, use, suffix=""):
    """What a strict revision asks of a path: see FileStat there."""
    if not path or (use == "write" and not os.path.exists(path)):
        return
    illegal = "{} path:{} is illegal. Please check.".format(use, path)
    if re.search(r"[^_A-Za-z0-9/.-]", path):
        print("[ERROR] path:{} contains illegal char".format(path))
    elif not os.path.exists(path):
        print("[ERROR] path: {} not exist, please check if file or dir is exist".format(path))
    elif os.path.islink(path):
        print("[ERROR] path :{} is a soft link, not supported".format(path))
    elif not is_ours(os.stat(path)):
        print("[ERROR] current user isn't path:{}'s owner or ownergroup".format(path))
    elif os.stat(path).st_mode & NOT_PERMITTED[use]:
        print("[ERROR] The file {} is group writable, or is others writable".format(path))
    elif not path.endswith(suffix):
        print("[ERROR] path:{}, file type not in {}".format(path, suffix))
    else:
        return
    print("ais_bench: error: " + illegal, file=sys.stderr)
    sys.exit(2)


def is_ours(found):
    return found.st_uid == os.geteuid() or found.st_gid in os.getgroups()


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
        if PERSONALITY["strict"]:
            check_path(path, "read")
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
        self.h2d, self.d2h, self._own = [], [], []
        for _ in range(PERSONALITY["warm_up"]):
            self.run(np.zeros(self.size, np.uint8))
        for times in (self.h2d, self.d2h, self._own):
            times.clear()
        self._session.reset_sumaryinfo()
        info("warm up {} times done".format(PERSONALITY["warm_up"]))

    def run(self, array):
        began = time.time()
        tensor = aclruntime.Tensor(array)
        tensor.to_device(self._device)
        self.h2d.append((time.time() - began) * 1000.0)
        outputs = self._execute(tensor)
        began = time.time()
        for one in outputs:
            one.to_host()
        self.d2h.append((time.time() - began) * 1000.0)
        return [np.array(one) for one in outputs]

    def _execute(self, tensor):
        if not PERSONALITY["host_clock"]:
            return self._session.run(self._names, [tensor])
        # As revisions before 2022-07-18 19:29 do.
        self._session.run_setinputs([tensor])
        began = time.time()
        self._session.run_execute(1)
        self._own.append((time.time() - began) * 1000.0)
        return self._session.run_getoutputs(self._names)

    @property
    def times(self):
        if PERSONALITY["host_clock"]:
            return list(self._own)
        return MILLISECONDS[PERSONALITY["times"]](self._session.sumary().exec_time_list)


def main():
    given = arguments()
    try:
        version = importlib.metadata.version("aclruntime")
    except importlib.metadata.PackageNotFoundError:
        version = " of no package:"
    if version != PERSONALITY["version"]:
        print("[WARNING] aclruntime{} version is lower, please update".format(version))
    session = TimedSession(given)
    folder = None
    if given.output:
        name = getattr(given, "output_dirname", None) or time.strftime("%Y_%m_%d-%H_%M_%S")
        folder = os.path.join(given.output, name)
        if PERSONALITY["strict"]:
            os.makedirs(folder, 0o750)
        else:
            # Like the real one, this requires the folder in --output to exist.
            os.mkdir(folder, 0o755)
        info("output path:{}".format(folder))
    listed = {}
    for number, path in enumerate(files_of(given.input, session.size)):
        outputs = session.run(content(path, session.size))
        stem = os.path.basename(path).split(".")[0]
        listed[number] = {"infiles": [path], "outfiles": []}
        for index, array in enumerate(outputs if folder else []):
            name = PERSONALITY["outputs"].format(id=number, stem=stem, index=index)
            target = os.path.join(folder, "{}.{}".format(name, given.outfmt.lower()))
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
    told = {"batch": given.batchsize, "mean": mean, "throughput": summary["throughput"]}
    info(PERSONALITY["line"].format(**told))
    info("------------------------------------------------------")
    if folder is not None:
        with open(PERSONALITY["summary"].format(folder=folder), "w", encoding="utf-8") as file:
            json.dump(summary, file)


if __name__ == "__main__":
    main()
