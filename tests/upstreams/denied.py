"""Runs a program whose connect(2) fails with an errno, as a policy has it or a want of memory: `denied.py ERRNO PROGRAM ...`."""

import ctypes
import os
import struct
import sys

# struct sock_filter: socketpair(2), not connect(2), is allowed; connect fails.
CONNECT = {"x86_64": 42, "aarch64": 203}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 1, CONNECT), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7FFF0000)]
filters = b"".join(struct.pack("HBBI", *one) for one in code)
held = ctypes.create_string_buffer(filters)
program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(f"the filter was refused: {ctypes.get_errno()}")
os.execvp(sys.argv[2], sys.argv[2:])
