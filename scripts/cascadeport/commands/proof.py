"""`cascadeport verify SHIPMENT`: is it whole, who signed it, and does its run give it again?"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cascadeport.attest import keys
from cascadeport.attest.verifying import UnverifiedError
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.base.text import printable
from cascadeport.commands import freeze
from cascadeport.commands.opening import opened
from cascadeport.config.options import Options, Request
from cascadeport.core.context import Context
from cascadeport.pipeline.planner import plan
from cascadeport.ship import build, check, labels, prove, words
from cascadeport.ship.manifest import Manifest
from cascadeport.ship.shipment import Wanted


def verify(
    folder: Path,
    options: Options,
    request: Request,
    reporter: Reporter,
    given: Collection[str],
) -> ExitCode:
    """Verifies a shipment, and freezes its run again where that is.

    Args:
        folder: The shipment.
        options: Where the run is. What was not given is as it was when it was frozen.
        given: The options that were given.
    """
    with reporter.stage("verify signature, files and archive"):
        found, signer = _verified(folder)
    _check_key(signer, request.key)
    print(printable("\n".join(_said(folder, found, signer)), lines=True))
    options = replace(words.options(found.rebuild, options, given), engine="docker")
    with tempfile.TemporaryDirectory(prefix="cascadeport-verify-") as temporary:
        again = _frozen_again(found, options, Path(temporary) / "dist", reporter)
        if again is None:
            return ExitCode.OK
        with reporter.stage("compare"):
            work = options.build / "verify" / folder.name
            differing = prove.differences(folder, again, work)
        beside = prove.beside(folder, again)
    if differing:
        print(
            printable(
                "\n".join(
                    [
                        "DIFFERS   frozen again, the run gives something else:",
                        *(f"  - {one}" for one in differing),
                    ]
                ),
                lines=True,
            )
        )
        return ExitCode.UNVERIFIED
    print("proven    frozen again, the run gives the same image and the same archive")
    if beside:
        print(printable(f"          beside them differ: {', '.join(beside)}"))
    return ExitCode.OK


def _verified(folder: Path) -> tuple[Manifest, str | None]:
    try:
        return check.verify(folder)
    except CascadeportError as error:
        raise UnverifiedError(
            error.what, where=error.where, next=error.next, details=error.details
        ) from error


def _check_key(signer: str | None, key: Path | None) -> None:
    """Compares the key that signed with those that are trusted."""
    if key is None:
        return
    trusted = [one.fingerprint for one in keys.load_public(key)]
    if signer not in trusted:
        raise UnverifiedError(
            "Another key signed the shipment." if signer else "Nobody signed the shipment.",
            where=f"signed by {signer}; trusted: {', '.join(trusted)}" if signer else str(key),
            next="Do not use it. Get it again from whoever made it.",
        )


def _said(folder: Path, found: Manifest, signer: str | None) -> list[str]:
    lines = [
        f"whole     {folder}: {len(found.files)} files",
        f"signed    by {signer}" if signer else "UNSIGNED  nothing says where it comes from",
        f"image     {found.image.name}  {found.image.id}",
    ]
    return lines + [f"{label['name'].upper():<9} {label['reason']}" for label in found.labels]


def _frozen_again(found: Manifest, options: Options, dist: Path, reporter: Reporter) -> Path | None:
    """The same run, frozen again; None, and said why: the run is not here."""
    try:
        with opened(options, reporter) as context:
            made = plan(context)
            image = freeze.image_of(made, context)
            if image is None:
                raise CascadeportError("There is no such run.", where=str(made.results))
            if (made.card.name, made.row) != (found.name, found.target):
                raise CascadeportError(
                    f"That is a run of {made.card.name} on {made.row}, not of {found.name} on "
                    f"{found.target}."
                )
            kinds = tuple(labels.Label(**label) for label in found.labels)  # type: ignore[arg-type]
            request = Request(
                force=True, tag=found.version.removesuffix(labels.suffix(kinds)) or None
            )
            wanted = Wanted(
                dist=dist,
                key=None,
                part_size=found.archive.part_size,
                compression=found.archive.compression,
                former=_former(found),
                rebuild=tuple(found.rebuild),
            )
            rebuilt = _built_again(context, image)
            return freeze.frozen(context, made, image, request, wanted, rebuilt=rebuilt)
    except CascadeportError as error:
        where = f" ({error.where})" if error.where else ""
        reporter.line("not proven", f"the run could not be frozen again: {error.what}{where}")
        reporter.note(
            "Give what names the run as for freeze: --target, --model, --data, --results."
        )
        return None


def _built_again(context: Context, image: str) -> str | None:
    if build.has_image(context, image):
        return None
    context.reporter.note(f"The engine does not have {image[:19]} any more: it is built again.")
    return build.engine_of(context).image("infer", context.reporter.event)


def _former(found: Manifest) -> Manifest | None:
    """What an update was packed against, as far as it matters: the layers that it left out."""
    if found.since is None:
        return None
    left_out = [layer for layer in found.image.layers if not layer.shipped]
    image = found.image.model_copy(update={"layers": left_out, "id": found.since.image})
    return found.model_copy(update={"version": found.since.version, "image": image})
