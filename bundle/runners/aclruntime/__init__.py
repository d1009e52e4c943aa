"""Networks on Ascend chips by aclruntime, the Python module of the vendor's ais_infer.

bins.py and ais_infer.py are for those who run the vendor's command line instead; commands.py adds
their commands to `python -m bundle`.
"""

from __future__ import annotations

from bundle.job import Job, NetworkFile
from bundle.runners import Runner

# Some versions of aclruntime release Python's lock while the chip computes and others do not:
# see ../process.py.
KEEPS_GIL = True


def load(job: Job, network: NetworkFile) -> Runner:
    """Loads a network onto a chip.

    The job's `runner.options` may hold `devices`, the numbers of the card's chips, and `soc`, the
    chip that the network was converted for. `device` is the chip to use here, 0 by default.

    Raises:
        BundleError: aclruntime or the chip is not available, or the network cannot be loaded or
            violates the contract.
    """
    from bundle.runners.aclruntime.session import AclruntimeRunner

    return AclruntimeRunner(job, network, int(job.runner.options.get("device", 0)))


def version() -> str:
    """The version of the installed runtime, `unknown` if it does not say.

    Raises:
        ImportError: It is not installed.
    """
    import aclruntime

    # Only a stand-in has the attribute; of the real module, its package knows the version.
    known = getattr(aclruntime, "__version__", None)
    if known is None:
        try:
            from importlib.metadata import PackageNotFoundError, version
        except ImportError:  # Python 3.7
            return "unknown"
        try:
            known = version("aclruntime")
        except PackageNotFoundError:
            known = "unknown"
    return str(known)
