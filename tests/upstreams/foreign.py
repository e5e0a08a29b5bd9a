"""A server that speaks something else: `foreign.py PORT VOICE` says its piece to everyone and waits for them to leave.

Prints `listening` when ready, and ends with its input.
"""

import os
import socket
import sys
import threading

HTTP = b"HTTP/1.1 200 OK\r\n"
# Voices that speak as soon as someone has connected.
FIRST = {
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "smtp": b"220 mail.shop.test ESMTP Postfix\r\n",
    "ftp": b"220 (vsFTPd 3.0.3)\r\n",
    "mysql": b"\x4a\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00abcdefgh\x00\xff\xf7\xff\x02\x00\xff\xdf\x15" + b"\x00" * 40,
}
# Voices that wait for the request.
ANSWERS = {
    "redis": b"-ERR unknown command 'GET', with args beginning with: '/' 'HTTP/1.1' \r\n",
    "memcached": b"ERROR\r\n",
    "http2": bytes.fromhex("00001204000000000000030000008000040001000000050000ffff"),
    "garbage": bytes((n * 37 + 11) % 251 for n in range(600)),
    "status-line": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "length": HTTP + b"Content-Length: many\r\n\r\n",
    "nul": HTTP + b"X-Odd: a\0b\r\nContent-Length: 0\r\n\r\n",
    "name": HTTP + b"X Odd: a\r\nContent-Length: 0\r\n\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "closes": b"",
}


def speak(conn, voice):
    with conn:
        conn.settimeout(10)
        try:
            if voice in FIRST:
                conn.sendall(FIRST[voice])
                conn.recv(65536)
            elif voice.startswith("alert-"):
                conn.recv(65536)
                conn.sendall(bytes((0x15, 3, 3, 0, 2, 2, int(voice[6:]))))
                return
            else:
                conn.recv(65536)
                conn.sendall(ANSWERS[voice])
                if voice in ("http", "closes"):
                    return
            # The gateway hangs up, if it dislikes what it got.
            conn.settimeout(2)
            while conn.recv(65536):
                pass
        except OSError:
            pass


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
    print("listening", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=speak, args=(conn, sys.argv[2]), daemon=True).start()


if __name__ == "__main__":
    main()
