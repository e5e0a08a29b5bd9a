"""What faulty.py says and hears: HTTP over a raw socket, and lines to the test on stdout."""

import dataclasses
import os
import re
import socket
import time


@dataclasses.dataclass
class Exchange:
    """One request: where it came in, its head (the body is unread), and its id from the path."""

    conn: socket.socket
    head: bytes
    ident: str
    tell_master: object


def say(line):
    os.write(1, line.encode() + b"\n")


def peek_head(conn):
    """One request's head, left unread; b"" when the peer has left."""
    while True:
        seen = conn.recv(65536, socket.MSG_PEEK)
        end = seen.find(b"\r\n\r\n")
        if end >= 0:
            return seen[:end + 4]
        if not seen:
            return b""
        time.sleep(0.001)


def body_length(head):
    found = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    return int(found.group(1)) if found else 0


def skip_body(conn, head):
    left = body_length(head)
    while left > 0:
        part = conn.recv(min(left, 65536))
        if not part:
            return
        left -= len(part)


def answer_ok(conn, head):
    """Says a good 200, and whether the connection lives on."""
    keeps = b" HTTP/1.1\r\n" in head and b"\r\nconnection: close" not in head.lower()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    conn.sendall(answer + (b"" if keeps else b"Connection: close\r\n") + b"\r\nok\n")
    return keeps
