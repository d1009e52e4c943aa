"""`cascadeport verify`: is a folder what somebody signed?"""

from __future__ import annotations

from collections.abc import Collection

from cascadeport import attest as statements
from cascadeport.attest import Verified
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.base.text import printable
from cascadeport.commands.attest import located, needed_key
from cascadeport.config.options import Options, Request
from cascadeport.ship import check


def verify(
    options: Options, request: Request, reporter: Reporter, given: Collection[str]
) -> ExitCode:
    """Verifies the folder that was given, else the result that the options are about."""
    if request.folder is not None and check.is_shipment(request.folder):
        from cascadeport.commands import proof

        return proof.verify(request.folder, options, request, reporter, given)
    key = needed_key(request, "the public key that you trust: --key key.pub")
    folder, dataset = located(options, request, reporter, given)
    with reporter.stage("compute the result again"):
        verified = statements.verify(folder, key, dataset=dataset)
    print(printable(_said(verified), lines=True))
    return ExitCode.OK


def _said(verified: Verified) -> str:
    result, signed = verified.result, verified.signed
    whose = f" ({verified.key.principal})" if verified.key.principal else ""
    accuracy = "no mAP" if result.map is None else f"mAP {result.map:.4f}"
    lines = [
        f"verified  {verified.folder}",
        f"signed    by {verified.key.fingerprint}{whose}, {signed['time']} by the signer's clock",
        f"result    {result.title}: {result.status.upper()}, {accuracy} of {result.pictures} "
        f"pictures, {result.model.title}",
        f"computed  from the detections by {result.evaluation.evaluators.title}",
        f"named     by digest, and not here to compare: {', '.join(verified.elsewhere)}",
    ]
    if result.status == "invalid":
        lines.append(f"INVALID   {result.reason}")
    return "\n".join(lines)
