"""The export of a checkpoint on this machine: hostile ones do nothing; it works in each sandbox.

What the sandbox itself holds against: tests/unit/test_hostile_checkpoints.py.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.engines import sandbox

from tests.helpers.export_world import World

pytestmark = pytest.mark.export

# Saves checkpoints whose `meta` calls something when it is unpickled, in both of torch's formats.
SAVE = """
import collections, os, subprocess, sys, torch
from torch._utils import _rebuild_tensor_v2
class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments
    def __reduce__(self):
        return self.function, self.arguments
folder, target = sys.argv[1:]
for name, hostile in {
    "command": Call(os.system, "touch " + target),
    "program": Call(exec, "open(%r, 'w')" % target),
    "file": Call(open, target, "w"),
    "secret": Call(open, "/etc/passwd"),
    "socket": Call(subprocess.call, ["/bin/sh", "-c", ": > /dev/tcp/127.0.0.1/9"]),
    "module": torch.nn.Linear(2, 2),
    "tensor": Call(_rebuild_tensor_v2, torch.FloatStorage(1), 0, (1 << 40,), (1,), False,
                   collections.OrderedDict()),
}.items():
    for form in ("old", "zip"):
        saved = {"meta": hostile, "state_dict": collections.OrderedDict(w=torch.ones(2))}
        torch.save(saved, "%s/%s-%s.pth" % (folder, name, form),
                   _use_new_zipfile_serialization=form == "zip")
torch.jit.script(torch.nn.Linear(2, 2)).save(folder + "/script-zip.pth")
"""
READ = """
import json, sys
from exporter import checkpoint
from exporter.errors import ExportError
said = {}
for path in sys.argv[1:]:
    try:
        checkpoint.read(path)
    except ExportError as error:
        said[path] = error.what + " " + error.next
print(json.dumps(said))
"""
NAMED = {
    "command": "posix.system",
    "program": "__builtin__.exec",
    "file": "io.open",
    "secret": "io.open",
    "socket": "commands.call",  # what subprocess.call is in pickles of protocol 2
    "module": "torch.nn.modules.linear.Linear",
    "tensor": "beyond its numbers",
    "script": "TorchScript",
}


@pytest.fixture(scope="module")
def hostile(export_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints; `touched` is there once one of them was run."""
    folder = tmp_path_factory.mktemp("hostile")
    words = [str(folder), str(folder / "touched")]
    subprocess.run([str(export_python), "-c", SAVE, *words], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def world(repository: Path, export_python: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), repository, export_python.parents[1])


def test_what_is_not_a_tensor_is_refused_before_it_is_called(
    repository: Path, export_python: Path, hostile: Path
) -> None:
    files = sorted(hostile.glob("*.pth"))
    done = subprocess.run(
        [str(export_python), "-c", READ, *map(str, files)],
        cwd=repository / "images" / "export",
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert len(files) == 2 * len(NAMED) - 1
    for file in files:
        words = said[str(file)]
        assert "has not been read" in words
        assert NAMED[file.stem.split("-")[0]] in words
        assert "torch.save" in words
    assert not (hostile / "touched").exists()


def test_what_training_leaves_beside_the_weights_is_read(
    repository: Path, export_python: Path, tmp_path: Path
) -> None:
    code = """
import collections, sys, numpy, torch
from exporter import checkpoint
state = collections.OrderedDict(
    a=torch.arange(6.).reshape(2, 3).t(), b=torch.tensor(3), h=torch.ones(2).half(),
    p=torch.nn.Parameter(torch.ones(2)), view=torch.arange(6.)[2:4], none=torch.zeros(0, 3))
state._metadata = collections.OrderedDict(version=1)
meta = dict(lr=numpy.float64(0.5), epoch=numpy.int64(3), note='a', raw=b'\\x00\\xff',
            classes=('a', None, True, {1}), shape=state['a'].shape)
for zipped in (True, False):
    torch.save(dict(meta=meta, state_dict=state, optimizer=dict(state={0: state['a']})),
               sys.argv[1], _use_new_zipfile_serialization=zipped)
    found = checkpoint.read(sys.argv[1])
    assert list(found) == list(state)
    assert all(torch.equal(found[key], state[key]) for key in state)
"""
    subprocess.run(
        [str(export_python), "-c", code, str(tmp_path / "net.pth")],
        cwd=repository / "images" / "export",
        check=True,
    )


def test_a_hostile_checkpoint_ends_the_run_with_its_name(world: World, hostile: Path) -> None:
    card = world.card("hostile", f'path = "{hostile}/command-zip.pth"\nconfig = "demo"')
    said = world.fails(3, "--model", card)
    assert "posix.system" in said
    assert "sandbox" in said
    assert not (hostile / "touched").exists()


@pytest.mark.parametrize("kind", ["bubblewrap", "kernel"])
def test_an_export_works_in_every_sandbox_and_says_which(
    repository: Path, export_python: Path, tmp_path: Path, kind: str
) -> None:
    try:
        text = sandbox.choose(kind).text
    except CascadeportError:
        pytest.skip(f"the sandbox {kind} does not work here")
    chosen = {"CASCADEPORT_SANDBOX": kind}
    world = World(tmp_path, repository, export_python.parents[1], env=chosen)
    card = world.card(kind, f'path = "{world.checkpoint}"\nconfig = "demo"')
    assert f"sandbox  {text}" in world.passes("--model", card)
    record = json.loads((world.root / "build/models" / kind / "export/export.json").read_text())
    assert record["containment"] == text
