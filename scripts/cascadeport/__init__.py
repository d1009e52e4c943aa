"""Cascadeport: one detector, several accelerators, the same code in each, one honest table."""

__version__ = "0.2.0"
