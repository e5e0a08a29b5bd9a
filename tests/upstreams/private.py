"""An upstream full of secrets that breaks: in its arguments, its environment, its fields and its bodies.

Each path names how it breaks. The word is given as the last argument, and is in each of them.
"""

import ctypes
import re
import socket
import sys

from wire import answer_ok, peek_head, say

WORD = sys.argv[-1].rpartition("=")[2]
TITLE = "\x1b]0;owned\x07\x1b[31m"
FIELDS = f"Set-Cookie: id={WORD}\r\nX-Token: {WORD}\r\n"
SAID = {
    b"bad-header": f"HTTP/1.1 200 OK\r\n{FIELDS}no colon {TITLE} {WORD}\r\n\r\n",
    b"mid-header": f"HTTP/1.1 200 OK\r\n{FIELDS}",
    b"own-502": f"HTTP/1.1 502 {TITLE}\r\n{FIELDS}Content-Length: {len(WORD)}\r\n\r\n{WORD}",
    b"nothing": "",
}


def serve(conn):
    head = peek_head(conn)
    conn.recv(len(head))
    found = re.search(rb"/break/([a-z0-9-]+)", head)
    if not found:
        answer_ok(conn, head)
        return
    conn.sendall(SAID[found.group(1)].encode())
    # Whatever of the request is still unread goes first, so that closing does not reset.
    conn.settimeout(0.05)
    try:
        while conn.recv(65536):
            pass
    except TimeoutError:
        pass


def main():
    # PR_SET_NAME (prctl(2)): a name that would colour and rename the terminal that shows it.
    ctypes.CDLL(None).prctl(15, b"\x1b[31m\x1b]0;x\x07w")
    listener = socket.create_server(("127.0.0.1", 0))
    say(f"listening 127.0.0.1 {listener.getsockname()[1]}")
    while True:
        conn, _ = listener.accept()
        with conn:
            serve(conn)


main()
