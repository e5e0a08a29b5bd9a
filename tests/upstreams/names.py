"""A name server on UDP port 53 of this address: nx.* is no name, fail.* fails, silent.* has no answer."""

import socket
import struct
import sys

CODES = {b"nx": 3, b"fail": 2}


def answer(question):
    first = question[13:13 + question[12]]
    if first == b"silent":
        return None
    code = CODES.get(first, 0)
    end = question.index(b"\0", 12) + 5
    kind = question[end - 4:end - 2]
    # An address for a question of type A (RFC 1035, 3.2.2).
    found = code == 0 and kind == b"\0\1"
    head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, int(found), 0, 0)
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("127.0.0.1")
    return head + question[12:end] + (record if found else b"")


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    message, asker = server.recvfrom(4096)
    reply = answer(message)
    if reply:
        server.sendto(reply, asker)
