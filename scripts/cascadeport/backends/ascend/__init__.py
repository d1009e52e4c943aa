"""Ascend NPUs: CANN's operators, atc, the driver, ais_infer, and a simulator of them."""

from cascadeport.backends.ascend.backend import AscendBackend

BACKEND = AscendBackend
