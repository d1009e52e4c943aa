"""Downloads files by address and sha256, or takes what the user already has, verified."""

from cascadeport.download.dataset import download_dataset
from cascadeport.download.file import download_file
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Progress, megabytes
from cascadeport.download.source import Downloaded, Source
from cascadeport.download.unpack import Limits, Packed, unpack
from cascadeport.download.verify import check

__all__ = [
    "Downloaded",
    "Limits",
    "Packed",
    "Policy",
    "Progress",
    "Source",
    "check",
    "download_dataset",
    "download_file",
    "megabytes",
    "unpack",
]
