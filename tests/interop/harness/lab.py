"""Where one case lives: a temporary folder, its processes, its ports.

Everything is on 127.0.0.1. Only processes that the case started are ever ended, and they die with this program.
"""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1

_ports_given = set()
_ports_lock = threading.Lock()


class Failure(Exception):
    """What a case says when the program under test did wrong."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(what, ours, theirs):
    check(ours == theirs, f"{what}: ours {ours!r}, theirs {theirs!r}")


def free_port():
    """A port that nothing listens on, for clients that cannot choose one themselves and say which.

    Below the kernel's ephemeral range, so that no outgoing connection takes it in the meantime.
    """
    with _ports_lock:
        while True:
            port = random.randrange(12000, 32000)
            if port in _ports_given:
                continue
            with socket.socket() as s:
                try:
                    s.bind((HOST, port))
                except OSError:
                    continue
            _ports_given.add(port)
            return port


def wait_until(probe, limit, what, poll=0.05):
    """The first true value of `probe()`; fails after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        value = probe()
        if value:
            return value
        check(time.monotonic() < end, f"not within {limit} s: {what}")
        time.sleep(poll)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _before(machine):
    """In the child, before the program."""
    _die_with_parent()
    if machine:
        machine.become()


class Lab:
    def __init__(self, name, keep=False):
        self.root = Path(tempfile.mkdtemp(prefix="interop-"))
        self.name, self.keep = name, keep
        self.running = []
        self.closers = []

    def dir(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def spawn(self, name, argv, env=None, machine=None, **kw):
        """Start a process whose output goes to `name`.log unless `kw` says otherwise; HOME is a folder of the case.

        `machine` is where it runs, of a network that the case made.
        """
        home = self.dir(f"{name}.home")
        log = open(self.root / f"{name}.log", "ab")
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", log)
        base = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
        proc = subprocess.Popen([str(a) for a in argv], stderr=log, env={**base, "HOME": str(home), **(env or {})},
                                preexec_fn=lambda: _before(machine), **kw)
        self.running.append(proc)
        return proc

    def output(self, argv, ok=(0,), timeout=60):
        """Run to the end; its stdout as text."""
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout)
        check(done.returncode in ok,
              f"{Path(argv[0]).name} {argv[1]} exited with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
        return done.stdout

    def at_end(self, close):
        self.closers.append(close)

    def end(self, proc, grace=5):
        if proc.poll() is None:
            proc.terminate()
            try:
                proc.wait(grace)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()

    def logs(self, limit=2000):
        """The tails of the logs, for a report of failure."""
        parts = []
        for path in sorted(self.root.glob("*.log")) + sorted(self.root.glob("*.events")):
            text = path.read_text(errors="replace")[-limit:]
            if text.strip():
                parts.append(f"--- {path.name}\n{text}")
        return "\n".join(parts)

    def close(self):
        for close in reversed(self.closers):
            close()
        for proc in self.running:
            self.end(proc)
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)
