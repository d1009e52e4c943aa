"""The comparison on disk, and its report: comparison.html, one self-contained page."""

from cascadeport.report.render import Beside, render

__all__ = ["Beside", "render"]
