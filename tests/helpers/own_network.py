"""Runs a command on a network of its own, where every port is free and nobody else is.

`python own_network.py COMMAND...`, below `unshare --net --map-root-user`.
"""

import fcntl
import os
import socket
import struct
import sys

_SIOCSIFFLAGS = 0x8914
_UP = 1


def main() -> None:
    """Sets the loopback device up, and becomes the command."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
