"""`cascadeport freeze`: a finished run becomes an image, and a shipment that travels."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.files import disk_errors
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.commands.run import run
from cascadeport.config.options import Options, Request
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.pipeline.planner import plan
from cascadeport.report import files as comparison_files
from cascadeport.results import collate, run_record
from cascadeport.ship import (
    build,
    check,
    contents,
    labels,
    shipment,
    signature,
    sizes,
    statement,
    words,
)
from cascadeport.ship.contents import Subject
from cascadeport.ship.shipment import Wanted


def freeze(options: Options, request: Request, reporter: Reporter) -> ExitCode:
    """Freezes a target's run and packs the shipment.

    Raises:
        CascadeportError: The run is not fit to be frozen, its image is gone, …
    """
    began = time.monotonic()
    # What cannot be used is found before anything is run.
    part_size = sizes.parse(request.part_size) if request.part_size else None
    former = check.former(request.since) if request.since else None
    if request.key is not None:
        signature.fingerprint(request.key)
    if request.tag is not None:
        contents.checked(request.tag, "the version")
    if options.bins:
        raise CascadeportError(
            "A pass through ais_infer and .bin files cannot be frozen: an image has no such files.",
            next="Freeze the target's usual, streaming pass: leave --bins out.",
        )
    options = replace(options, engine="docker")
    with opened(options, reporter) as context:
        made = plan(context)
        finished = image_of(made, context)
    if finished is None:
        reporter.note(
            "There is no finished run in a container: it is made now, because what is frozen is "
            "the image that made the numbers."
        )
        run(options, reporter)
    with opened(options, reporter) as context:
        made = plan(context)
        image = image_of(made, context)
        if image is None:
            raise CascadeportError(
                "The run did not leave a result.",
                where=str(made.results),
                next="Run the target (cascadeport all --engine docker), and see what it says.",
            )
        wanted = Wanted(
            dist=request.dist,
            key=request.key,
            part_size=part_size,
            compression="gzip" if request.compression == "gzip" else "zstd",
            former=former,
            rebuild=words.of_run(options),
        )
        folder = frozen(context, made, image, request, wanted)
    _say(folder, wanted, reporter)
    reporter.line("total", f"{time.monotonic() - began:.1f} s")
    return ExitCode.OK


def frozen(
    context: Context,
    made: Plan,
    image: str,
    request: Request,
    wanted: Wanted,
    *,
    rebuilt: str | None = None,
) -> Path:
    """Freezes a finished run; returns the shipment's folder.

    Args:
        image: The id of the image that the run was made in.
        rebuilt: See `build.make`.
    """
    with store.locked(made.folder, wait=True):
        contents.require_single(made.results / "infer")
        known = collate.known(made, context)
        result = collate.compute(made.results, known)
        row = comparison_files.row(made, context, known)
        # Nobody's key signs a run that will not be frozen.
        if not request.force:
            labels.require(labels.of(row, labels.SIGNED), forced=False, where=str(made.results))
        signed = statement.of(made.results, wanted.key, known.dataset, force=request.force)
        found = labels.of(row, signed.state)
        labels.require(found, forced=request.force, where=str(made.results))
        # The report says who signed what.
        comparison_files.update(made, context, known)
        for label in found:
            context.reporter.line(label.name, label.reason, "bold red")
        subject = Subject(
            plan=made,
            result=result,
            row=row,
            dataset=known.dataset,
            image=image,
            statement=signed.state,
            labels=found,
            version=request.tag,
        )
        work = context.options.build / "freeze"
        # What a freeze that was killed left behind goes when the next one takes its place.
        with (
            store.locked(work, wait=True),
            disk_errors(work),
            tempfile.TemporaryDirectory(prefix=".frozen.tmp-", dir=work) as temporary,
        ):
            done = build.make(context, subject, signed.path, Path(temporary), rebuilt=rebuilt)
            return shipment.pack(context, subject, done, signed.path, wanted)


def image_of(made: Plan, context: Context) -> str | None:
    """The id of the image that the finished run was made in; None: there is no such run."""
    path = made.results / "infer" / "run.json"
    if not path.is_file():
        return None
    record = run_record.load(path)
    engine = (record.model_extra or {}).get("engine")
    return build.image_of(engine, context) if isinstance(engine, dict) else None


def _say(folder: Path, wanted: Wanted, reporter: Reporter) -> None:
    found = check.read(folder)
    reporter.line("image", f"{found.image.name}  {found.image.id}")
    reporter.line("shipment", str(folder))
    if wanted.key is None:
        reporter.line("unsigned", "give --key to sign it", "bold red")
    else:
        key = signature.fingerprint(wanted.key)
        reporter.line("signed", f"by {key}: tell the operator this by another way")
