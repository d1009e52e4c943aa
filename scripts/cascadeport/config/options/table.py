"""The options. A new one is an entry here; `make docs` then writes what is made from the table.

An entry's name is its name everywhere: `keep_going` is `--keep-going` on the command line and
`KEEP_GOING=` for make. Options that only some backends understand are named by
`Backend.supported`; the other targets refuse them.
"""

# ruff: noqa: RUF009  `option` is a dataclass's `field` with a declaration in it.

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport.base.paths import REPOSITORY
from cascadeport.config.options.declare import of, option


@dataclass(frozen=True)
class Options:
    """The user's options for one target. Everything that has a default gets it here."""

    target: str = option("a row of `targets.toml`; `cpu` unless given", "NAME", default="cpu")
    model: str | None = option(
        "a card in `models/`, or the path of your own; the target's own unless given", "NAME"
    )
    data: str | None = option(
        "a description in `models/data/`, or a folder in COCO layout; the model card's own unless "
        "given",
        "NAME",
    )
    pictures: str | None = option(
        "the folder of pictures below the data folder; `val2017` unless given. Of `plan` with "
        "`--devices`, how many pictures there are",
        "NAME",
    )
    annotations: str | None = option(
        "the annotation file below the data folder; `annotations/instances_val2017.json` unless "
        "given",
        "NAME",
    )
    checkpoint: Path | None = option(
        "your own copy of the card's checkpoint instead of a download; its sha256 must be the "
        "card's. The graph is exported from it, also where the card has one "
        "([export.md](export.md))",
        "FILE",
    )
    random_weights: int | None = option(
        "export random weights instead of a checkpoint, for work on speed and parity; a model of "
        "its own, named so everywhere. `0` is a seed as well. Not together with `--checkpoint`",
        "SEED",
        minimum=0,
    )
    limit: int | None = option(
        "only the first N pictures by id; the results say so in their folder's name",
        "N",
        minimum=1,
    )
    part: str | None = option(
        "only a half of the pictures: those that `tune` searches on, or those that it has not "
        "seen and judges by ([tune.md](tune.md)); with `--limit` the first ones in the order that "
        "divides them. The results say so in their folder's name",
        "PART",
        choices=("search", "held-out"),
    )
    keep_going: bool = option(
        "list pictures that cannot be read and go on; the result is then INVALID", default=False
    )
    engine: str | None = option(
        "where commands run; the target's own unless given. `swarm`: the pass runs on the nodes of "
        "a Docker Swarm ([swarm.md](swarm.md))",
        "ENGINE",
        choices=("local", "docker", "swarm"),
    )
    shards: int | None = option(
        "run the pass in N shards, which are merged to the bytes of one run; its times are a "
        "fleet's ([shards.md](shards.md)); a row of its own. Of `manifests`: how many shares "
        "pictures are cut into, 1 unless given. Of an estimate: one per device unless given, or "
        "more where devices differ",
        "N",
        minimum=1,
    )
    volume: str | None = option(
        "the Docker volume that every node of the swarm has, in which pictures, networks and "
        "results travel; paths of this machine that every node has unless given "
        "([swarm.md](swarm.md))",
        "NAME",
    )
    registry: str | None = option(
        "where the nodes of the swarm pull the image from, e.g. `registry:5000/cascadeport`; the "
        "image has to be on every node unless given ([swarm.md](swarm.md))",
        "PREFIX",
    )
    platform: str | None = option(
        "the platform that images are built for and run on; the Docker Engine's own unless given "
        "([containers.md](containers.md))",
        "PLATFORM",
        choices=("linux/amd64", "linux/arm64"),
    )
    simulate: bool = option("run an Ascend target on a stand-in for CANN", default=False)
    personality: str | None = option(
        "which revision of the vendor's tools the stand-in is like, as "
        "`images/simulator/personalities.toml` names it; `2022-09` unless given",
        "NAME",
    )
    cann_release: str | None = option(
        "the CANN release of an Ascend target, as `images/ascend/cann.toml` names it; `5.1.RC2` "
        "unless given. Another one is a row of its own ([containers.md](containers.md))",
        "NAME",
    )
    bins: bool = option(
        "run an Ascend target with the vendor's `ais_infer` and `.bin` files "
        "([containers.md](containers.md)); a row of its own",
        default=False,
    )
    proposals: int | None = option(
        "how many proposals the RPN keeps at most; changes the model's meaning, so the result has "
        "a row of its own ([lowering.md](lowering.md))",
        "N",
        minimum=1,
    )
    nms_levels: str | None = option(
        "NMS of proposals within each pyramid level or across all; a row of its own",
        "LEVELS",
        choices=("within", "across"),
    )
    nms_precision: str | None = option(
        "the precision of boxes and scores in NMS; a row of its own",
        "PRECISION",
        choices=("float32", "float16"),
    )
    precision: str | None = option(
        "the precision that the network computes in, where its lowering has a choice; `int8` is "
        "quantised after training ([int8.md](int8.md)); a row of its own",
        "PRECISION",
        choices=("float32", "float16", "int8"),
    )
    calibration: str | None = option(
        "the pictures that `--precision int8` measures ranges on: a description in "
        "`models/data/`, or a folder of pictures, none of which may be evaluated; those that the "
        "data set's description names unless given. Others are a row of their own",
        "NAME",
    )
    calibration_pictures: int = option(
        "how many of them, spread evenly; 32 unless given", "N", default=32, minimum=4
    )
    lowering: str | None = option(
        "the lowering that rewrites the network for the runtime, where a target has several "
        "([lowering.md](lowering.md)); a row of its own unless it is the target's",
        "NAME",
    )
    shapes: str | None = option(
        "the shapes of the network's input ([shapes.md](shapes.md)): `own`, every picture padded "
        "to its own multiple of 32, as mmdet does; `auto:N`, N shapes chosen for the data set; or "
        "rows and columns of each, `800x1344,1344x800`. A row of its own; the card's unless given",
        "SHAPES",
    )
    resize: str | None = option(
        "how large pictures become: the long edge, `1088`, or the long and the short one, "
        "`1333x800`, at most. A row of its own; the card's unless given",
        "EDGES",
    )
    threads: int | None = option(
        "threads of the network on a CPU; one per core unless given. A number that is given makes "
        "a row of its own",
        "N",
        minimum=1,
    )
    streams: int | str | None = option(
        "how many pictures a CPU works on at once, which share its threads; `auto`: what is "
        "fastest on this machine, measured before the pass "
        "([evaluation.md](evaluation.md#several-pictures-at-once)). A row of its own",
        "N",
        minimum=1,
        besides=("auto",),
    )
    batch: int | None = option(
        "how many pictures go through the network at once, in a network made for it "
        "([lowering.md](lowering.md#several-pictures-at-once)). A row of its own",
        "N",
        minimum=1,
    )
    repeats: int = option(
        "timed passes over the first 200 pictures, for the spread; 3 unless given, 1 where there "
        "are shards",
        "N",
        default=3,
        minimum=1,
    )
    keep_runs: int = option(
        "how many runs the history keeps, the newest ones ([history.md](history.md)); 20 unless "
        "given, 0: none",
        "N",
        default=20,
        minimum=0,
    )
    keep_failed: bool = option(
        "keep what a failed stage wrote, as `STAGE.failed`, and its container", default=False
    )
    build: Path = option(
        "where products that several runs share are kept; `build/` unless given",
        "FOLDER",
        default=lambda: REPOSITORY / "build",
        absolute=True,
    )
    results: Path = option(
        "where results are written; `results/` unless given",
        "FOLDER",
        default=lambda: REPOSITORY / "results",
        absolute=True,
    )
    # For tests; not on the command line.
    models: Path = field(default_factory=lambda: REPOSITORY / "models")
    targets: Path = field(default_factory=lambda: REPOSITORY / "targets.toml")


@dataclass(frozen=True)
class Request:
    """What a command line says besides `Options`."""

    targets: str | None = option(
        "several targets: side by side where their hosts differ ([hosts.md](hosts.md)), in turn "
        "where they share one",
        "NAMES",
    )
    a: str | None = option(
        "a row to explain: its name, or its folder; `explain A B` is the same without option names",
        "ROW",
    )
    b: str | None = option("the row that is compared with it", "ROW")
    picture: int | None = option(
        "the picture to look at, by its id; the one that the rows differ on most unless given",
        "ID",
        minimum=0,
    )
    dump: Path | None = option(
        "what B's device dumped of that picture, converted to NumPy's format, or msprobe's table "
        "of it ([explain.md](explain.md))",
        "PATH",
    )
    ablate: int | None = option(
        "how many pictures the shares of points are measured on, 0 for none; all of them unless "
        "given, if that takes no more than ten minutes",
        "N",
        minimum=0,
    )
    against: str | None = option(
        "what is compared with: a kept run by the first digits of its id, `previous`, or a folder "
        "with results ([history.md](history.md)). Of `doctor`, the file that `doctor --json` wrote "
        "on another host: what differs between it and this one",
        "RUN",
    )
    expected: Path | None = option(
        "a file of differences that `--against` is to expect, each with its reason",
        "FILE",
    )
    export: Path | None = option(
        "write the comparison as JUnit XML (`.xml`) or as Markdown for a pull request (`.md`)",
        "FILE",
    )
    budget: float = option(
        "how many points of mAP `tune` may lose ([tune.md](tune.md)); 0.5 unless given",
        "POINTS",
        default=0.5,
    )
    dry_run: bool = option("print the plan, and run nothing", default=False)
    json: bool = option("print JSON, for programs", default=False)
    key: Path | None = option(
        "the OpenSSH Ed25519 key: for `verify` the public one or a file of allowed signers, else "
        "the private one, which signs, e.g. `~/.ssh/id_ed25519` ([attest.md](attest.md))",
        "FILE",
        absolute=True,
    )
    force: bool = option(
        "sign or freeze a run that should not be: what is made of it, its tag and its answers then "
        "say so",
        default=False,
    )
    folder: Path | None = option(
        "what `verify` looks at; the command line takes it as a word as well: `verify FOLDER`. "
        "The target's result unless given. Of `report-problem`, where its file goes",
        "FOLDER",
        absolute=True,
    )
    tag: str | None = option(
        "the version of what is frozen; the run's date and a digest unless given", "VERSION"
    )
    part_size: str | None = option(
        "cut the archive into parts of at most this size, e.g. `4G`", "SIZE"
    )
    compression: str = option(
        "of the archive: `gzip` for hosts that have neither the program zstd nor Docker 23",
        "KIND",
        default="zstd",
        choices=("zstd", "gzip"),
    )
    since: Path | None = option(
        "ship only what is new since this shipment", "SHIPMENT", absolute=True
    )
    dist: Path = option(
        "where shipments are written; `dist/` unless given",
        "FOLDER",
        default=lambda: REPOSITORY / "dist",
        absolute=True,
    )
    shipment: Path | None = option(
        "the shipment whose image is deployed; the target's only one in `dist/` unless given",
        "FOLDER",
        absolute=True,
    )
    image: str | None = option(
        "the frozen image's name in your registry; its digest is added from the shipment. Without "
        "it, nodes are expected to have the image already",
        "NAME",
    )
    devices: str | None = option(
        "estimate how long `--pictures` take on so many devices, such as `310P3=8,T4=2`, by the "
        "names of rows or targets ([plan.md](plan.md))",
        "NAME=N",
    )
    cores: int | None = option(
        "of an estimate: the processor cores of all hosts together; enough unless given",
        "N",
        minimum=1,
    )
    storage: str | None = option(
        "of an estimate: bytes per second at which pictures can be read, all hosts together, e.g. "
        "`500M`; enough unless given",
        "SIZE",
    )
    picture_size: str | None = option(
        "of an estimate: the mean size of a picture, e.g. `160k`; that of the data set of a "
        "measured row unless given",
        "SIZE",
    )
    hosts: int | None = option(
        "of an estimate: how many hosts get the image; 1 unless given", "N", minimum=1
    )
    parallelism: int | None = option(
        "how many shards are worked on at once; all of them unless given", "N", minimum=1
    )
    replicas: str = option(
        "how many servers, or the fewest and the most of them: `3`, `1-8`",
        "N-M",
        default="1-4",
    )
    namespace: str | None = option("the namespace that manifests are for", "NAME")
    pictures_claim: str = option(
        "the PersistentVolumeClaim with the pictures; `pictures` unless given",
        "NAME",
        default="pictures",
    )
    found_claim: str = option(
        "the PersistentVolumeClaim for results, writable from several nodes; `found` unless given",
        "NAME",
        default="found",
    )
    host_files: bool = option(
        "mount the driver from the node, where no container runtime of the vendor's brings it "
        "([kubernetes.md](kubernetes.md))",
        default=False,
    )
    fix: bool = option(
        "repair what can be repaired without risk, and say what was done", default=False
    )
    debug: bool = option("show the traceback of an error", default=False)


ALL = (*of(Options), *of(Request))
"""Every option there is."""


def words(options: Options) -> list[str]:
    """The words of a command line that ask for these options; defaults are left out."""
    return [word for each in of(Options) for word in each.words(getattr(options, each.field))]


def read(values: dict[str, Any]) -> tuple[Options, Request]:
    """Options and request of the values that were given, by field."""
    own = {each.field for each in of(Request)}
    return (
        Options(**{key: value for key, value in values.items() if key not in own}),
        Request(**{key: value for key, value in values.items() if key in own}),
    )
