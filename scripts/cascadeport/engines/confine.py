"""Confines itself by what the kernel offers to any user, and becomes a command. A script.

    python -I confine.py --read PATH ... --write PATH ... -- COMMAND ...
    python -I confine.py --network-only -- COMMAND ...
    python -I confine.py --probe

`--network-only` leaves files alone, and takes only sockets of networks away, not those of this
machine: what a container without a network is left with. It ends with an error where the kernel
cannot.

`--probe` prints, as JSON, what would be in force: `files` (`Landlock`: nothing but these paths) and
`network` (`none`: seccomp refuses sockets; `no TCP`: Landlock does; null: it is open).

Landlock is in Linux since 5.13, its rules for TCP since 6.7; seccomp in every kernel, here for two
architectures. Both need no package and no rights.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import stat
import struct
from collections.abc import Sequence

# include/uapi/linux/landlock.h; the numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
# How many rights to files each version knows.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_TCP = 3  # bind, connect
_SCOPES = 3  # abstract sockets, signals
_SECCOMP, _FILTER, _NO_NEW_PRIVILEGES = 22, 2, 38
# include/uapi/linux/seccomp.h, bpf_common.h, audit.h; the number of socket(2) per architecture.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
# AF_INET, AF_INET6, AF_PACKET; where struct seccomp_data has the first argument of a call.
_NETWORKS, _FIRST_ARGUMENT = (2, 10, 17), 16
# Calls of another kind on the same processor; a ring of requests, which can make sockets too.
_OTHER_ABI, _IO_URING = 0x40000000, 425

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    found: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def version() -> int:
    """The kernel's version of Landlock; 0: it has none."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError:
        return 0


def refuse_sockets(*, of_networks: bool = False) -> bool:
    """Takes from this process the means to make a socket, for good; False: the kernel cannot.

    Landlock leaves sockets in folders alone, and the Docker Engine's is as good as root.

    Args:
        of_networks: Only those of IPv4, IPv6 and packets.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return False
    architecture, number = machine
    refused = _REFUSE | errno.EACCES
    # Loads the architecture, then the number of the call, and compares each.
    program = [
        (_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _OTHER_ABI), (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _IO_URING), (_RETURN, 0, 0, refused),
        (_EQUAL, 1, 0, number), (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip
    if of_networks:
        # The low half of the first argument, as both architectures have it in memory.
        program.append((_LOAD, 0, 0, _FIRST_ARGUMENT))
        for family in _NETWORKS:
            program += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, refused)]
        program.append((_RETURN, 0, 0, _ALLOW))
    program.append((_RETURN, 0, 0, refused))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    described = struct.pack("HP", len(program), ctypes.addressof(code))
    return _control(_SECCOMP, _FILTER, described) == 0


def _control(option: int, first: int, second: bytes | int = 0) -> int:
    """prctl(2)."""
    last = second if isinstance(second, bytes) else ctypes.c_ulong(second)
    none = ctypes.c_ulong(0)
    found: int = _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(first), last, none, none)
    return found


def confine(read: Sequence[str], write: Sequence[str]) -> None:
    """Takes from this process every file but these, for good; also TCP where the kernel can.

    Args:
        read: Files and folders to read and execute; what this user cannot
            reach is left out.
        write: Those to change as well.
    """
    known = version()
    every = (1 << _RIGHTS.get(known, 16)) - 1
    attributes = struct.pack(
        "QQQ", every, _TCP if known >= 4 else 0, _SCOPES if known >= 6 else 0
    )[: 8 if known < 4 else 16 if known < 6 else 24]  # fmt: skip
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for path, rights in (*((path, _READ) for path in read), *((path, every) for path in write)):
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES
        rule = struct.pack("=Qi", rights & every, place)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        os.close(place)
    _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def probe() -> dict[str, str | None]:
    """What is in force once this process has confined itself. It has, then."""
    _control(_NO_NEW_PRIVILEGES, 1)
    known = version()
    if known:
        confine(["/"], [])
    network = "none" if refuse_sockets() else "no TCP" if known >= 4 else None
    return {"files": "Landlock" if known else None, "network": network}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--network-only", action="store_true")
    parser.add_argument("--read", action="append", default=[])
    parser.add_argument("--write", action="append", default=[])
    parser.add_argument("command", nargs="*")
    return parser


def main() -> None:
    """Confines this process and becomes the command."""
    options = _parser().parse_args()
    if options.probe:
        print(json.dumps(probe()))
        return
    _control(_NO_NEW_PRIVILEGES, 1)
    if options.network_only:
        if not refuse_sockets(of_networks=True):
            raise SystemExit("This kernel cannot take the network from a process (seccomp).")
    else:
        if version():
            confine(options.read, options.write)
        refuse_sockets()
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    main()
