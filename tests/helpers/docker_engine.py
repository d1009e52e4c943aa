"""A Docker Engine of our own: started in a temporary folder, stopped with everything in it.

It shares nothing with an engine that the machine may already run: data root, exec root, pid file
and socket are its own, and it has no bridge and no firewall rules, so containers have no network
unless they ask for the host's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_READY_S = 60.0


def missing() -> str:
    """Why no engine can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "starting a Docker Engine needs root"
    for program in ("dockerd", "containerd", "runc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install docker.io)"
    return ""


class PrivateEngine:
    """One dockerd in one folder.

    Args:
        folder: Short, because a socket's path holds 107 characters at most.
        extra: More arguments for dockerd, e.g. a second `--host`.
        env: More environment for dockerd.
        data_root: Where images go, when not below the folder.
        within: A command that dockerd is run by, e.g. in a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        extra: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        data_root: Path | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self._extra = tuple(extra)
        self._within = tuple(within)
        self._env = {**os.environ, **(env or {})}
        self._data_root = data_root or folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What dockerd printed."""
        return self.folder / "dockerd.log"

    def start(self) -> None:
        """Starts dockerd and waits until it answers."""
        assert self._process is None
        command = [
            *self._within,
            "dockerd",
            f"--data-root={self._data_root}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'docker.pid'}",
            f"--host={self.host}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            *self._extra,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + _READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                tail = self.log.read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"dockerd did not start: {tail}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import docker

        with contextlib.suppress(Exception):
            client = docker.DockerClient(base_url=self.host, timeout=5)
            try:
                return bool(client.ping())
            finally:
                client.close()
        return False

    def stop(self) -> None:
        """Stops dockerd and its containers, politely and then not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._end_containerd()

    @property
    def is_running(self) -> bool:
        """Whether dockerd was started and nobody has ended it."""
        return self._process is not None

    def kill(self) -> None:
        """Ends dockerd as a crash would: its containers go on without it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        # Its containerd dies with it; where nobody reaps orphans, the number would seem alive.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def _end_containerd(self) -> None:
        # dockerd stops its containerd itself; one that outlived a killed dockerd is ended here.
        pid_file = self.folder / "exec" / "containerd" / "containerd.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)

    def remove(self) -> None:
        """Removes the folder, with whatever is still mounted below it; its files some time later.

        Images are tens of thousands of small files, which some disks take minutes to remove.
        """
        self.stop()
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for point in sorted((line.split()[1] for line in mounts), reverse=True):
            if point.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", point], check=False)
        if not self.folder.exists():
            return
        removed = self.folder.with_name(f"{self.folder.name}-removed")
        self.folder.rename(removed)
        subprocess.run(
            ["sh", "-c", 'rm -rf "$1" >/dev/null 2>&1 &', "sh", str(removed)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )


@contextlib.contextmanager
def private_engine(
    extra: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[PrivateEngine]:
    """An engine for the length of a block."""
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="cpe-")), extra, env)
    try:
        engine.start()
        yield engine
    finally:
        engine.remove()
