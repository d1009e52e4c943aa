"""Stages: one file per step of the pipeline. Each plans itself and does its work."""
