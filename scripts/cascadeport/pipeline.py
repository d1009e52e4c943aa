"""One target from end to end: plan, stages, result, comparison, report."""

from __future__ import annotations

import time

from cascadeport.errors import CascadeportError
from cascadeport.execute import execute
from cascadeport.options import Options
from cascadeport.plan import Plan, plan
from cascadeport.progress import Reporter


def run(options: Options, reporter: Reporter) -> int:
    """Runs `cascadeport all` for one target and returns the exit code."""
    began = time.monotonic()
    made = plan(options)
    try:
        execute(made, options, reporter)
        code = _finish(made, options, reporter)
    except CascadeportError as error:
        error.started = True
        raise
    reporter.line("total", f"{time.monotonic() - began:.1f} s")
    return code


def compare(options: Options, reporter: Reporter) -> int:
    """Writes the comparison of what has been finished and returns the exit code."""
    return _finish(plan(options), options, reporter)


def _finish(made: Plan, options: Options, reporter: Reporter) -> int:
    raise NotImplementedError
