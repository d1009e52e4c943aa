"""A program of its own, in an environment of its own: quantises a lowered graph to int8.

It runs as `python -m cascadeport.quantise.tool REQUEST.json` and imports nothing of the
orchestrator's: its environment has neither pydantic nor OpenCV. On standard output it prints JSON
lines ("progress", "note", "error"), as the bundle does.
"""
