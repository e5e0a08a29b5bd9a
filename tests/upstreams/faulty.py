"""An upstream that breaks as the request's path says: /fault/NAME/ID breaks that way, all else is a good 200.

Prints `listening HOST PORT` when ready. Takes orders on stdin (`close`, `listen PORT`), answers them
on stdout, and ends with its stdin, so it never outlives the test that started it.
"""

import argparse
import os
import resource
import select
import signal
import socket
import sys
import threading
import time

import bodies
import faults
import wire


FAULTS = faults.FAULTS | bodies.BODIES


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix", help="a path to listen on, instead of a host and a port")
    parser.add_argument("--backlog", type=int, default=1024)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds a kept-alive connection may idle")
    parser.add_argument("--share", choices=["fork", "threads"], default="fork",
                        help="fork: a process a connection, so that a death spares the listener")
    parser.add_argument("--never-accept", action="store_true")
    parser.add_argument("--no-descriptors", action="store_true", help="has as many files open as it may")
    parser.add_argument("--late", type=float, default=0.0, help="seconds that it starts before it listens")
    return parser.parse_args()


def listen(host, port, backlog):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(backlog)
    wire.say(f"listening {host} {listener.getsockname()[1]}")
    return listener


def listen_unix(path, backlog):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen(backlog)
    wire.say(f"listening {path} 0")
    return listener


def serve(conn, idle, tell_master):
    """Answers requests until the peer leaves, the idle timer fires or a fault; says whether it broke."""
    with conn:
        conn.settimeout(idle)
        while True:
            try:
                head = wire.peek_head(conn)
            except TimeoutError:
                conn.close()
                wire.say("idle-closed")
                return False
            if not head:
                return False
            path = head.split(b" ")[1].decode("latin-1")
            if not path.startswith("/fault/reset-unseen/"):
                conn.recv(len(head))
            if path.startswith("/fault/"):
                _, _, name, ident = path.split("/")[:4]
                if not FAULTS[name](wire.Exchange(conn, head, ident, tell_master)):
                    return True
            elif not faults.ok(wire.Exchange(conn, head, "", tell_master)):
                return False


def accept_in_child(listener, idle, masters_pipe):
    """A worker for one connection, which it accepts itself; returns in the parent, once it is accepted."""
    accepted, tell_accepted = os.pipe()
    if os.fork() != 0:
        os.close(tell_accepted)
        os.read(accepted, 1)
        os.close(accepted)
        return
    signal.alarm(60)
    os.close(0)
    conn, _ = listener.accept()
    listener.close()
    os.close(tell_accepted)
    if serve(conn, idle, lambda order: os.write(masters_pipe, order.encode() + b"\n")):
        # A worker outlives the connection that it broke: its end is no part of the fault.
        time.sleep(5)
    os._exit(0)


def use_up_descriptors():
    """Everything that is open now is all that may be."""
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def serve_in_thread(conn, idle):
    thread = threading.Thread(target=serve, args=(conn, idle, None), daemon=True)
    thread.start()


def obey(order, args, listeners):
    words = order.split()
    if words[0] == "close":
        listeners.pop().close()
        wire.say("closed")
    elif words[0] == "listen":
        listeners.append(listen(args.host, int(words[1]), args.backlog))
    elif words[0] == "kill":
        os.kill(int(words[1]), signal.Signals[words[2]])


def main():
    args = options()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if args.share == "fork":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    orders, masters_pipe = os.pipe()
    if args.late:
        wire.say(f"starting {args.host} {args.port}")
        time.sleep(args.late)
    if args.unix:
        listeners = [listen_unix(args.unix, args.backlog)]
    else:
        listeners = [listen(args.host, args.port, args.backlog)]
    if args.no_descriptors:
        use_up_descriptors()
    while True:
        watched = [] if args.never_accept else listeners
        ready, _, _ = select.select([*watched, 0, orders], [], [])
        for source in ready:
            if source in (0, orders):
                lines = os.read(source, 65536).decode()
                if not lines:
                    os._exit(0)
                for order in lines.splitlines():
                    obey(order, args, listeners)
            elif source in listeners:
                try:
                    if args.share == "fork":
                        accept_in_child(source, args.idle, masters_pipe)
                    else:
                        serve_in_thread(source.accept()[0], args.idle)
                except OSError as error:
                    # As servers do: complain and try again.
                    time.sleep(0.05)
                    wire.say(f"accept failed: {error.errno}")


if __name__ == "__main__":
    sys.exit(main())
