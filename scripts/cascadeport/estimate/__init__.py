"""Estimates before hardware: how long pictures take on so many devices, and what bounds them.

    devices.py    which devices, as the user writes them
    figures.py    single-device figures: measured rows, else published ones, and which is which
    schedule.py   shards on devices: when the last one ends
    model.py      duration, processors, storage, disk, and the bound
    text.py       the same for people

docs/plan.md says what is computed how, and how far it was off.
"""
