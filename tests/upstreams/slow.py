"""A WSGI application for gunicorn: slow in Python, stuck in C, or leaving, by the request's path."""

import hashlib
import os
import sys
import time


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/sleep/"):
        time.sleep(20)
    elif path.startswith("/stuck/"):
        # One call into C: no Python signal handler runs before it returns.
        hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 60_000_000)
    elif path.startswith("/exit-late/"):
        sys.exit(1)
    elif path.startswith("/exit-early/"):
        # 3 and 4 are gunicorn's own: its master then ends too.
        os._exit(7)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]
