"""Dials HOST:PORT so often, says `dialled COUNT`, and holds what it got until its input ends."""

import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
held = [socket.create_connection((host, int(port))) for _ in range(int(sys.argv[2]))]
print(f"dialled {len(held)}", flush=True)
sys.stdin.read()
