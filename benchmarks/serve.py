"""A frozen image's server under 32 clients, against `infer` on the same core; tiny pictures.

Server and `infer` run on the first core, clients on the others. A number
of seconds as its argument shortens a trial.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks"), str(REPOSITORY / "scripts")]

from _pictures import pictures  # noqa: E402
from cascadeport import backends  # noqa: E402

from tests.helpers import bundle_jobs, frozen_folder  # noqa: E402
from tests.helpers.frozen_server import Server, serving  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
CLIENTS, QUEUE, ROUNDS, TINY = 32, 64, 24, int(os.environ.get("SERVE_TINY") or 10_000)
TICKS = os.sysconf("SC_CLK_TCK")
SHARE, GROWTH = 0.95, 0.05
CORES = sorted(os.sched_getaffinity(0))
DEMO = REPOSITORY / "models" / "demo" / "demo.onnx"
NAMES = ("disc", "square", "triangle", "star", "cross", "crescent", "heart", "arrow")


def freeze(root: Path, paths: list[Path]) -> Path:
    """The demo's network, lowered for onnxruntime, as a frozen folder; pictures beside it."""
    import cv2

    network = root / "demo.onnx"
    backends.lowering("onnxruntime").lower(DEMO, network)
    (root / "pictures").mkdir()
    items = []
    for number, path in enumerate(paths, 1):
        (root / "pictures" / path.name).write_bytes(path.read_bytes())
        height, width = cv2.imread(str(path)).shape[:2]
        items.append(bundle_jobs.item(number, path.name, width, height))
    content = bundle_jobs.job(
        root / "pictures",
        items,
        network,
        input=bundle_jobs.square(256),
        preprocess={"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        classes=[{"name": name, "category_id": index} for index, name in enumerate(NAMES, 1)],
        stream={"workers": 1, "queue": 4},
    )
    folder = frozen_folder.freeze(root / "frozen", content)
    with contextlib.redirect_stdout(sys.stderr):
        frozen_folder.add_golden(folder, content, root / "run", count=5)
    return folder


@contextlib.contextmanager
def on_first_core() -> Iterator[None]:
    """What is started here runs on the first core; this process goes back to the others."""
    os.sched_setaffinity(0, CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES[1:] or CORES)


def infer(folder: Path, source: Path, out: Path) -> float:
    """Seconds of one `infer`."""
    began = time.perf_counter()
    with on_first_core():
        process = subprocess.Popen(
            frozen_folder.command(folder, "infer", source, out),
            env=bundle_jobs.environment(),
            stdout=subprocess.DEVNULL,
        )
    assert process.wait() == 0
    return time.perf_counter() - began


def repeated(root: Path, paths: list[Path], count: int) -> Path:
    """A folder with that many pictures, which are links to a few."""
    folder = root / f"repeated{count}"
    folder.mkdir()
    for number in range(count):
        one = paths[number % len(paths)]
        (folder / f"{number:06}{one.suffix}").symlink_to(one)
    return folder


def infer_rate(folder: Path, root: Path, few: Path, many: Path, name: str) -> tuple[float, float]:
    """Pictures per second of `infer`, and its processor time for a picture in milliseconds.

    Without its start: the difference of two passes.
    """
    count = len(list(many.iterdir())) - len(list(few.iterdir()))
    walls, used = [], [children()]
    for which, source in (("few", few), ("many", many)):
        walls.append(infer(folder, source, root / f"{name}-{which}"))
        used.append(children())
    short, long = walls
    cpu = (used[2] - used[1]) - (used[1] - used[0])
    return count / (long - short), 1000 * cpu / count


def children() -> float:
    """Seconds of processor time of all processes that were started here and have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def processor_time(process: int) -> float:
    """Seconds of processor time that a running process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Load:
    """Clients that ask as fast as they are answered, and how they were answered."""

    def __init__(self, server: Server, bodies: list[bytes], wanted: list[Any]) -> None:
        self.codes: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.wrong = 0
        self._server, self._bodies, self._wanted = server, bodies, wanted
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self, seconds: float) -> float:
        """Asks for that long; returns how long it really was."""
        threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(CLIENTS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._stop.set()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=120)
        turn = number
        while not self._stop.is_set():
            index = turn % len(self._bodies)
            turn += 1
            began = time.perf_counter()
            connection.request("POST", "/v1/detect", self._bodies[index])
            answer = connection.getresponse()
            content = answer.read()
            took = time.perf_counter() - began
            same = answer.status != 200 or json.loads(content)["detections"] == self._wanted[index]
            with self._lock:
                self.codes[answer.status] += 1
                self.wrong += not same
                if answer.status == 200:
                    self.seconds.append(took)
            if answer.status == 503:
                time.sleep(int(answer.headers["Retry-After"]))
        connection.close()


def resident(process: int) -> float:
    """Resident memory of a process in MiB."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(one for one in text.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths, description = pictures(root)
        folder = freeze(root, paths)
        kept = sorted((root / "pictures").iterdir())
        few, many = repeated(root, kept, len(kept)), repeated(root, kept, ROUNDS * len(kept))
        before, cpu_before = infer_rate(folder, root, few, many, "before")
        lines = (root / "before-few" / "detections.jsonl").read_text(encoding="utf-8").splitlines()
        wanted = [json.loads(line)["detections"] for line in lines]
        bodies = [path.read_bytes() for path in kept]
        with on_first_core():
            running = serving(folder, "--queue", QUEUE)
            server = running.__enter__()
        Load(server, bodies, wanted).run(min(10.0, SECONDS / 3))  # until its memory is allocated
        memory = resident(server.process.pid)
        load = Load(server, bodies, wanted)
        used = processor_time(server.process.pid)
        took = load.run(SECONDS)
        used = processor_time(server.process.pid) - used
        growth = resident(server.process.pid) / memory - 1
        server.process.send_signal(signal.SIGTERM)
        stopped = server.process.wait(60)
        running.__exit__(None, None, None)
        after, cpu_after = infer_rate(folder, root, few, many, "after")
        tiny = root / "tiny.png"
        bundle_jobs.write_picture(tiny, 8, 8)
        tiny_seconds = infer(folder, repeated(root, [tiny], TINY), root / "tiny")
    rate, base = load.codes[200] / took, (before + after) / 2
    cpu = 1000 * used / load.codes[200]
    ordered = sorted(load.seconds)
    p99, bound = ordered[int(0.99 * (len(ordered) - 1))], QUEUE / rate
    met = {True: "met", False: "MISSED"}
    print(
        f"""## A frozen image's server

The demo's network at 256 x 256 on onnxruntime, {description}. Server and `infer` on
one core, the clients on the others. {CLIENTS} clients for {took:.0f} s, each asking again as
soon as it is answered; `infer` over {len(kept)} and {len(kept) * ROUNDS} pictures before and
after, by the difference of the two.

| | | target | |
| --- | ---: | ---: | --- |
| answers 200 | {load.codes[200]} | | |
| answers 503 | {load.codes[503]} | | |
| other answers | {sum(load.codes.values()) - load.codes[200] - load.codes[503]} | 0 | \
{met[set(load.codes) <= {200, 503}]} |
| detections other than `infer`'s | {load.wrong} | 0 | {met[load.wrong == 0]} |
| `serve`, pictures/s | {rate:.1f} | | |
| `infer` before and after, pictures/s | {before:.1f}, {after:.1f} | | |
| share of `infer`'s throughput | {rate / base:.3f} | {SHARE} | {met[rate / base >= SHARE]} |
| processor time for a picture, ms: `serve`; `infer` before, after | \
{cpu:.1f}; {cpu_before:.1f}, {cpu_after:.1f} | | |
| p99 of a request, s | {p99:.2f} | {bound:.2f} = queue {QUEUE} x service time | \
{met[p99 < bound]} |
| growth of memory, from {memory:.0f} MiB | {100 * growth:+.1f} % | {100 * GROWTH:.0f} % | \
{met[growth < GROWTH]} |
| exit code after SIGTERM | {stopped} | 0 | {met[stopped == 0]} |

`infer` over {TINY:,} pictures of 8 x 8 pixels: {tiny_seconds:.0f} s."""
    )


if __name__ == "__main__":
    main()
