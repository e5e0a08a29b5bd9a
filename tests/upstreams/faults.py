"""Each fault by its name: takes a wire.Exchange, breaks, and says whether the connection lives on."""

import atexit
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time

import wire


def close_without_answer(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    exchange.conn.close()


def partial_status(exchange):
    exchange.conn.sendall(b"HTTP/1.1 20")
    exchange.conn.close()


def partial_header(exchange):
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
    exchange.conn.close()


def partial_header_reset(exchange):
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
    linger_nothing(exchange.conn)
    exchange.conn.close()


def linger_nothing(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_linger(exchange):
    linger_nothing(exchange.conn)
    exchange.conn.close()


def reset_unread(exchange):
    """Needs a request with a body: the head is read, the body waits in the socket."""
    select.select([exchange.conn], [], [], 5)
    exchange.conn.close()


def reset_unseen(exchange):
    """The server does not even read the head of the request."""
    exchange.conn.close()


def malformed_header(exchange):
    exchange.conn.sendall(b"HTTP/1.1 200 OK\r\nnot a header line\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.3)
    exchange.conn.close()


def header_too_big(exchange):
    filler = b"".join(b"X-Filler-%04d: %s\r\n" % (n, b"f" * 44) for n in range(1024))
    try:
        exchange.conn.sendall(b"HTTP/1.1 200 OK\r\n" + filler + b"Content-Length: 0\r\n\r\n")
        time.sleep(0.3)
    except OSError:
        pass
    exchange.conn.close()


def in_pieces(conn, pieces):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        conn.sendall(piece)
        time.sleep(0.02)


def header_in_pieces(exchange):
    """A header that does not end, in packets that are each far smaller than a buffer."""
    pieces = [b"HTTP/1.1 200 OK\r\n"] + [b"X-Filler-%04d: %s\r\n" % (n, b"f" * 800) for n in range(8)]
    try:
        in_pieces(exchange.conn, pieces)
        time.sleep(0.3)
    except OSError:
        pass
    exchange.conn.close()


def says_502_in_pieces(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    in_pieces(exchange.conn, [b"HTTP/1.", b"1 502", b" Bad Gateway\r\nContent-Length: 4\r\n\r\nbad\n"])
    return True


def says_502_after_hints(exchange):
    """An interim answer first (RFC 8297)."""
    wire.skip_body(exchange.conn, exchange.head)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    in_pieces(exchange.conn, [hints, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nbad\n"])
    return True


def says_502(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    exchange.conn.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nbad\n")
    return True


def says_503(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    exchange.conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbad\n")
    return True


def segv(exchange):
    ctypes.string_at(0)


def abort(exchange):
    os.abort()


def exit_early(exchange):
    os._exit(3)


def exit_late(exchange):
    """The socket closes while the stack unwinds; the process lingers as interpreters do."""
    atexit.register(time.sleep, 0.15)
    sys.exit(1)


def unhandled(exchange):
    """An exception that nobody catches: traceback, then exit status 1."""
    sys.stderr = open(os.devnull, "w")
    raise RuntimeError("a bug")


def oom(exchange):
    """Grows until the memory cgroup's limit kills it; gives up at 512 MiB where there is none."""
    hoard = []
    for _ in range(64):
        hoard.append(b"\1" * (8 << 20))
    wire.say("no-limit")
    exchange.conn.close()


def hold(exchange):
    """Waits for someone to end it, at most ten seconds."""
    wire.say(f"holding {os.getpid()} {exchange.ident}")
    time.sleep(10)
    exchange.conn.close()


def hold_politely(exchange):
    """As `hold`, but a TERM makes it leave with status 0, as servers do."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    hold(exchange)


def hold_then_close(exchange):
    wire.say(f"holding {os.getpid()} {exchange.ident}")
    time.sleep(1.5)
    exchange.conn.close()


def hold_till_told(exchange):
    """Closes as it gets a WINCH, and lives on; at most ten seconds later."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
    wire.say(f"holding {os.getpid()} {exchange.ident}")
    signal.sigtimedwait({signal.SIGWINCH}, 10)
    exchange.conn.close()


def ask_another(exchange):
    """Waits for another service that never answers: a database, say."""
    other = socket.create_server(("127.0.0.1", 0))
    asked = socket.create_connection(other.getsockname())
    wire.say(f"holding {os.getpid()} {exchange.ident}")
    wire.say(f"asked {other.getsockname()[1]}")
    asked.recv(1)


def spin(exchange):
    """Computes for ten seconds."""
    wire.say(f"holding {os.getpid()} {exchange.ident}")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        pass


def killed_by_master(exchange):
    exchange.tell_master(f"kill {os.getpid()} SIGKILL")
    time.sleep(10)


def cpu_limit(exchange):
    """The kernel kills at the hard limit of processor time: a signal that nobody sent."""
    import resource
    used = sum(os.times()[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1, int(used) + 1))
    while True:
        pass


def ok(exchange):
    wire.skip_body(exchange.conn, exchange.head)
    return wire.answer_ok(exchange.conn, exchange.head)


FAULTS = {function.__name__.replace("_", "-"): function for function in (
    close_without_answer, partial_status, partial_header, partial_header_reset, reset_linger, reset_unread, reset_unseen,
    malformed_header, header_too_big, header_in_pieces, says_502, says_502_in_pieces, says_502_after_hints, says_503, segv, abort, exit_early, exit_late, unhandled,
    oom, hold, hold_politely, hold_then_close, hold_till_told, ask_another, spin, killed_by_master, cpu_limit, ok,
)}
