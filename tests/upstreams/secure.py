"""An HTTPS server: `secure.py PORT CERTIFICATE KEY NEWEST`, where NEWEST is the newest TLS version, 1.2 or 1.3.

Prints `listening` when ready, and ends with its input.
"""

import os
import socket
import ssl
import sys
import threading


def serve(context, conn):
    with conn:
        conn.settimeout(10)
        try:
            with context.wrap_socket(conn, server_side=True) as secure:
                request = secure.recv(65536)
                if request.startswith(b"GET /close/"):
                    return
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
        except OSError:
            # A handshake that fails ends the connection, as servers do.
            pass


def main():
    port, certificate, key, newest = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if newest == "1.2" else ssl.TLSVersion.TLSv1_3
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    print("listening", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(context, conn), daemon=True).start()


if __name__ == "__main__":
    main()
