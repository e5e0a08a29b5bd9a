"""An upstream that breaks TLS handshakes, or that speaks something else than was hoped for, as MODE says.

`handshakes.py MODE CERTIFICATE KEY`: prints `listening HOST PORT`, and ends with its stdin.
"""

import socket
import ssl
import sys
import threading
import time

mode, certificate, key = sys.argv[1:]

# What servers of other protocols say first, or to a request that they do not understand.
GREETINGS = {
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "smtp": b"220 mail.test ESMTP\r\n",
    "mysql": b"J\0\0\0\x0a8.0.36\0" + bytes(60),
    "http2": b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\x06\0\0\x40\0",
}
REPLIES = {
    "redis": b"-ERR wrong number of arguments for 'get' command\r\n",
    "memcached": b"ERROR\r\n",
    "garbage": bytes(range(128, 200)),
    "clear": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    words = mode.split("-")
    if "tls12" in words:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if "tls13" in words:
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    if "client" in words:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(certificate)
    if "cipher" in words:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    if "name" in words:
        made.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return made


def answer(conn):
    request = b""
    while b"\r\n\r\n" not in request:
        piece = conn.recv(65536)
        if not piece:
            return False
        request += piece
    if b" /fault/close/" in request:
        return False
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
    return True


def serve(conn):
    conn.settimeout(10)
    try:
        if mode in GREETINGS:
            conn.sendall(GREETINGS[mode])
            conn.recv(65536)
            time.sleep(0.2)
        elif mode in REPLIES:
            conn.recv(65536)
            conn.sendall(REPLIES[mode])
            time.sleep(0.2)
        elif mode == "hangs-up":
            conn.recv(65536)
        else:
            conn = secured.wrap_socket(conn, server_side=True)
            while answer(conn):
                pass
            conn.unwrap()
    except OSError:
        pass
    finally:
        conn.close()


secured = context()
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print("listening", *listener.getsockname(), flush=True)


def accept():
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
