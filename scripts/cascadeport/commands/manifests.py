"""`cascadeport manifests TARGET`: a frozen image for Kubernetes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cascadeport import backends
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.paths import COMPOSE
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config import compose, targets
from cascadeport.config.options import Options, Request, environment
from cascadeport.config.targets import Target
from cascadeport.core.context import Context
from cascadeport.manifests import folder, pod, subject
from cascadeport.manifests.subject import Subject
from cascadeport.ship import manifest, runtime
from cascadeport.ship.manifest import Manifest

_PLACE = "manifests"
_SIMULATED = ({"name": "simulated", "reason": "These pods run on a stand-in for the hardware."},)
# As bundle/shards.py has it.
_MOST_SHARDS = 100_000


def manifests(options: Options, request: Request, reporter: Reporter) -> ExitCode:
    """Writes the manifests of a target's frozen image.

    Raises:
        CascadeportError: There is no such image, or a name or a number cannot be used.
    """
    known = targets.load(options.targets, backends.row)
    targets.find(options.target, known)
    shipped = _shipment(options, request, known)
    if shipped is not None and any(one["name"] == "simulated" for one in shipped.labels):
        options = replace(options, simulate=True)
    with opened(replace(options, engine="docker"), reporter) as context:
        found = of(context, request, shipped)
    place = request.dist / _PLACE / f"{found.name}-{subject.object_name(found.version)}"
    files = folder.write(found, place)
    for label in found.labels:
        reporter.line(label["name"], label["reason"], "bold red")
    if not pod.is_restricted(found) or found.host_files:
        reporter.note("its pods mount files of the node: no namespace admits them as restricted")
    reporter.line("image", found.image)
    reporter.line("manifests", f"{len(files)} files: {place}")
    return ExitCode.OK


def of(context: Context, request: Request, shipped: Manifest | None) -> Subject:
    """What is deployed.

    Args:
        context: That of the target.
        shipped: The manifest of the frozen image's shipment; None: the image is named by the user.
    """
    options = context.options
    variables = environment.read(os.environ)
    how = runtime.of(context, variables)
    backend = backends.of(context.target)
    stand_ins = backend.variables(options, {}, None) if options.simulate else {}
    service = compose.load(COMPOSE / context.target.compose, {**variables, **stand_ins})["infer"]
    model = shipped.name if shipped else Path(options.model or context.target.model).stem
    shards, image = options.shards or 1, _image(request, shipped)
    if shards > _MOST_SHARDS:
        raise CascadeportError(
            f"An image takes at most {_MOST_SHARDS} shards, and {shards} were asked for.",
            where=f"--shards {shards}",
            next="Take as many as there are devices, or some more.",
        )
    row = shipped.target if shipped else context.name
    return Subject(
        name=subject.object_name(model, row),
        title=shipped.title if shipped else model,
        target=row,
        version=shipped.version if shipped else image.rpartition("@")[2][:19],
        image=image,
        is_loaded=request.image is None,
        labels=shipped.labels if shipped else _SIMULATED if options.simulate else (),
        origin=_origin(shipped),
        runtime=how,
        plug_in=backend.plug_in(service, options),
        shards=shards,
        parallelism=min(request.parallelism or shards, shards),
        replicas=subject.replicas(request.replicas),
        namespace=_name(request.namespace, "--namespace"),
        pictures=_name(request.pictures_claim, "--pictures-claim"),
        found=_name(request.found_claim, "--found-claim"),
        host_files=request.host_files or options.simulate,
    )


def _name(text: str | None, option: str) -> str:
    return subject.checked_name(text, option) if text else ""


def _image(request: Request, shipped: Manifest | None) -> str:
    if request.image is not None:
        return subject.reference(request.image, shipped.image.manifest if shipped else None)
    assert shipped is not None
    return shipped.image.name


def _origin(shipped: Manifest | None) -> dict[str, str]:
    if shipped is None:
        return {"statement": "unknown: the image was named, and no shipment says what it is"}
    digests = {key: value for key, value in shipped.digests.items() if value}
    return {
        "version": shipped.version,
        "image-id": shipped.image.id,
        "statement": shipped.statement,
        **{f"digest-{key}": digests[key] for key in ("bundle", "network") if key in digests},
    }


def _shipment(options: Options, request: Request, known: Mapping[str, Target]) -> Manifest | None:
    """The shipment that the user names, or the only one of the target and the model.

    A shipment's target is the name of its row, which may be that of a variant.
    """
    if request.shipment is not None:
        found = manifest.load(request.shipment)
        if targets.of_row(found.target, known) != options.target:
            raise CascadeportError(
                f"The shipment is for target {found.target}, not {options.target}.",
                where=str(request.shipment),
                next="Name its target, or another shipment.",
            )
        return found
    wanted = Path(options.model).stem if options.model else None
    here = {}
    for path in sorted(request.dist.glob(f"*/{manifest.NAME}")):
        one = manifest.load(path.parent)
        if targets.of_row(one.target, known) == options.target and wanted in (None, one.name):
            here[path.parent] = one
    if len(here) == 1:
        return next(iter(here.values()))
    if here:
        raise CascadeportError(
            f"There are {len(here)} shipments for {options.target}.",
            where=str(request.dist),
            details=[path.name for path in here],
            next="Name one: --shipment FOLDER.",
        )
    if request.image is None:
        raise CascadeportError(
            f"There is no frozen image for {options.target}.",
            where=str(request.dist),
            next="Freeze a run (cascadeport freeze), or name an image in your registry: "
            "--image NAME@sha256:…",
        )
    return None
