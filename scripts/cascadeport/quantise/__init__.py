"""Post-training quantisation to int8: calibration, what stays in float32, and the record of it.

docs/int8.md. The tools run as a program of their own (`quantise/tool`) in an environment of their
own, which imports this package: nothing may be imported here.
"""
