"""Downloads files by address and sha256, or takes what the user already has, checked."""

from cascadeport.download.data import fetch_data
from cascadeport.download.download import fetch
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Progress, megabytes
from cascadeport.download.source import Fetched, Source
from cascadeport.download.unpack import Limits, Packed, unpack
from cascadeport.download.verify import check

__all__ = [
    "Fetched",
    "Limits",
    "Packed",
    "Policy",
    "Progress",
    "Source",
    "check",
    "fetch",
    "fetch_data",
    "megabytes",
    "unpack",
]
