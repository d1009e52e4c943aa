"""`cascadeport quantise`: makes a target's int8 network, or prepares its vendor's tool."""

from __future__ import annotations

from dataclasses import replace

from cascadeport import backends
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config.options import Options
from cascadeport.core.context import Context
from cascadeport.pipeline import planner
from cascadeport.pipeline.executor import make_first
from cascadeport.pipeline.stages import data, export, prepare, quantise


def run(options: Options, reporter: Reporter) -> ExitCode:
    """Runs the stages up to the int8 network; nothing is measured, and there is no row.

    Raises:
        CascadeportError: The target cannot be quantised for, or a stage failed.
    """
    with opened(replace(options, precision="int8"), reporter) as context:
        tool = backends.of(context.target).foreign_quantiser
        if tool is not None:
            return _prepare(context)
        made = planner.plan(context)
        export.require(made, context)
        quantise.require(made, context)
        ended = [index for index, one in enumerate(made.stages) if one.name == "quantise"]
        make_first(made.stages[: ended[-1] + 1], context)
        for index in ended:
            reporter.line("int8", str(made.stages[index].folder))
        return ExitCode.OK


def _prepare(context: Context) -> ExitCode:
    options, target = context.options, context.target
    tool = backends.of(target).foreign_quantiser
    assert tool is not None
    source = data.source(options, target)
    card = planner.card(context, source)
    semantics = target.semantics.overridden(planner.chosen(options, target))
    pictures = data.calibration(options, target, source)
    stages = prepare.stages(context, card, semantics, source, pictures, tool)
    make_first(stages, context)
    context.reporter.line("prepared", f"{stages[-1].folder}: the input of {tool.name}")
    context.reporter.note(
        f"Prepared, not run: {tool.name} is the vendor's and does not run here. There is no row."
    )
    return ExitCode.OK
