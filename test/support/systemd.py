"""Plays systemd: starts a service of Type=notify with a listening socket of its own, prints what it is told, starts the
service again on SIGHUP or when its watchdog expires, and stops it on SIGTERM. With BUSY=1 its queue is full from the
start, and it reads nothing before SIGUSR1.

systemd.py NOTIFY_SOCKET PORT COMMAND... ; a PORT of -1 passes no socket, 0 is any free one.
"""

import ctypes
import os
import signal
import socket
import sys
import time

name, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
libc = ctypes.CDLL(None)
wanted = set()
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: wanted.add(number))


def say(*words):
    print("systemd:", *words, flush=True)


notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notes.bind("\0" + name[1:] if name.startswith("@") else name)
notes.settimeout(0.02)
busy = "BUSY" in os.environ
if busy:
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    try:
        while True:
            filler.sendto(b"filler", notes.getsockname())
    except BlockingIOError:
        pass
listener = None
if port >= 0:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    say("port", listener.getsockname()[1])


def start():
    child = os.fork()
    if child:
        return child
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    environment = dict(os.environ, NOTIFY_SOCKET=name)
    if "WATCHDOG_USEC" in environment:
        environment["WATCHDOG_PID"] = str(os.getpid())
    if listener:
        os.dup2(listener.fileno(), 3)
        environment.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execve(command[0], command, environment)


def end(child, number):
    os.kill(child, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    say("ended", status)
    return status


patience = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
child, alive = start(), None
while busy and not wanted:
    time.sleep(0.02)
wanted.discard(signal.SIGUSR1)
while True:
    try:
        text = notes.recv(4096).decode()
        if text == "WATCHDOG=1":
            if alive is None:
                say("watchdog")
            alive = time.monotonic()
        else:
            say("told", *text.split("\n"))
    except TimeoutError:
        pass
    if signal.SIGUSR2 in wanted:
        wanted.discard(signal.SIGUSR2)
        os.kill(child, signal.SIGUSR2)
    if alive is not None and time.monotonic() - alive > patience:
        say("watchdog expired")
        end(child, signal.SIGKILL)
        child, alive = start(), None
    if signal.SIGHUP in wanted:
        wanted.discard(signal.SIGHUP)
        end(child, signal.SIGTERM)
        child, alive = start(), None
    if signal.SIGTERM in wanted:
        status = end(child, signal.SIGTERM)
        while True:
            try:
                say("told", *notes.recv(4096).decode().split("\n"))
            except TimeoutError:
                sys.exit(status)
