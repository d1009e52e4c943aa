"""Brings files here, checked: by address and sha256, or from what the user already has."""

from cascadeport.fetch.data import bring
from cascadeport.fetch.download import fetch
from cascadeport.fetch.policy import Policy
from cascadeport.fetch.progress import Progress, megabytes
from cascadeport.fetch.source import Fetched, Source
from cascadeport.fetch.unpack import Limits, Packed, unpack
from cascadeport.fetch.verify import check

__all__ = [
    "Fetched",
    "Limits",
    "Packed",
    "Policy",
    "Progress",
    "Source",
    "bring",
    "check",
    "fetch",
    "megabytes",
    "unpack",
]
