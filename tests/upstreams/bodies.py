"""Answers that break off within their body, and whole ones of every framing."""

import ctypes
import os
import time

import faults
import wire

WHOLE = 10000
PART = b"p" * 4000
# Time enough for a gateway to pass the beginning on.
BEGUN = 0.1


def begin(exchange, framing=b"Content-Length: %d\r\n" % WHOLE, part=PART):
    wire.skip_body(exchange.conn, exchange.head)
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + framing + b"\r\n" + part)
    time.sleep(BEGUN)


def cut_close(exchange):
    begin(exchange)
    exchange.conn.close()


def cut_at_once(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % WHOLE + PART)
    exchange.conn.close()


def cut_long_header(exchange):
    """Content-Length lies behind more fields than are kept."""
    filler = b"".join(b"X-Filler-%d: %s\r\n" % (n, b"f" * 60) for n in range(8))
    begin(exchange, filler + b"Content-Length: %d\r\n" % WHOLE)
    exchange.conn.close()


def cut_reset(exchange):
    begin(exchange)
    faults.linger_nothing(exchange.conn)
    exchange.conn.close()


def cut_segv(exchange):
    begin(exchange)
    ctypes.string_at(0)


def cut_exit(exchange):
    begin(exchange)
    os._exit(3)


def cut_killed(exchange):
    begin(exchange)
    exchange.tell_master(f"kill {os.getpid()} SIGKILL")
    time.sleep(10)


def cut_stall(exchange):
    begin(exchange)
    time.sleep(10)


def cut_stall_late(exchange):
    """More than a gateway's smallest buffer, so that it is passed on."""
    begin(exchange, b"Content-Length: %d\r\n" % (5 * WHOLE), 5 * PART)
    time.sleep(10)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"%x\r\n" % len(PART) + PART + b"\r\n"


def cut_chunked(exchange):
    begin(exchange, CHUNKED, CHUNK)
    exchange.conn.close()


def cut_chunked_segv(exchange):
    begin(exchange, CHUNKED, CHUNK)
    ctypes.string_at(0)


def cut_in_chunk(exchange):
    begin(exchange, CHUNKED, CHUNK[:-100])
    exchange.conn.close()


def whole_length(exchange):
    begin(exchange, part=PART)
    exchange.conn.sendall(b"p" * (WHOLE - len(PART)))
    return True


def whole_and_close(exchange):
    begin(exchange, b"Connection: close\r\nContent-Length: %d\r\n" % WHOLE)
    exchange.conn.sendall(b"p" * (WHOLE - len(PART)))
    exchange.conn.close()


def whole_chunked(exchange):
    begin(exchange, CHUNKED, CHUNK)
    exchange.conn.sendall(CHUNK + b"0\r\n\r\n")
    return True


def whole_trailers(exchange):
    """Fields follow the last chunk (RFC 9112, 7.1.2)."""
    begin(exchange, CHUNKED + b"Trailer: X-Sum\r\n", CHUNK)
    exchange.conn.sendall(CHUNK + b"0\r\nX-Sum: 8000\r\n\r\n")
    return True


def whole_until_end(exchange):
    """The end of the connection ends the body (RFC 9112, 6.3)."""
    begin(exchange, b"Connection: close\r\n")
    exchange.conn.close()


def whole_to_head(exchange):
    """Announces what HEAD would have got; and closes."""
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % WHOLE)
    exchange.conn.close()


def whole_not_modified(exchange):
    exchange.conn.sendall(b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % WHOLE)
    exchange.conn.close()


def whole_upgraded(exchange):
    """Another protocol from here on: how long it lasts is no answer's length."""
    exchange.conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + PART)
    time.sleep(BEGUN)
    exchange.conn.close()


def whole_slowly(exchange):
    """The client leaves before the end."""
    begin(exchange)
    time.sleep(0.5)
    try:
        exchange.conn.sendall(b"p" * 1000)
        time.sleep(0.2)
        exchange.conn.sendall(b"p" * (WHOLE - 1000 - len(PART)))
    except OSError:
        pass
    return True


BODIES = {function.__name__.replace("_", "-"): function for function in (
    cut_close, cut_at_once, cut_long_header, cut_reset, cut_segv, cut_exit, cut_killed, cut_stall, cut_stall_late,
    cut_chunked, cut_chunked_segv, cut_in_chunk, whole_length, whole_and_close, whole_chunked, whole_trailers, whole_until_end, whole_to_head,
    whole_not_modified, whole_upgraded, whole_slowly,
)}
