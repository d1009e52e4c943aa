"""comparison.html: the comparison as one self-contained page."""

from cascadeport.results.report.render import render

__all__ = ["render"]
