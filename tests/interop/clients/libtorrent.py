"""libtorrent through its Python binding, in a process of its own (`lt_peer.py`)."""
import json
import os
import subprocess
import sys
from pathlib import Path

from clients.base import Client
from harness.lab import Failure, wait_until

PEER = Path(__file__).parent.parent / "lt_peer.py"


class Libtorrent(Client):
    name = "libtorrent"

    def __init__(self, lab, label, upload_limit=0, settings=None, trackers=()):
        super().__init__(lab, label)
        self.upload_limit, self.extra, self.trackers = upload_limit, settings or {}, list(trackers)
        self.buf, self.state = b"", {}

    def start(self):
        argv = [sys.executable, PEER, str(self.upload_limit), json.dumps(self.settings())]
        self.proc = self.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.set_blocking(self.proc.stdout.fileno(), False)
        self.port = wait_until(lambda: self.status().get("port"), 20, "libtorrent listens")

    def settings(self):
        chosen = {"listen_interfaces": f"{self.host}:0", "enable_lsd": self.ways.lsd}
        if self.ways.dht:
            chosen |= {"enable_dht": True, "dht_bootstrap_nodes": self.ways.dht[0]}
        return {**chosen, **self.extra}

    def share(self, torrent, folder, peers=()):
        self.fetch(torrent, folder, peers)
        self.wait(20)

    def fetch(self, source, folder, peers=(), empty=False):
        """`empty`: be there, and get no piece for the first minute."""
        trackers = None if self.ask_trackers else self.trackers
        self.tell(torrent=str(source), dir=str(folder), peers=[[p.host, p.port] for p in peers],
                  pex=self.ways.pex, empty=empty, trackers=trackers)

    def tell(self, **command):
        self.proc.stdin.write(json.dumps(command).encode() + b"\n")
        self.proc.stdin.flush()

    def status(self):
        """The newest status line it wrote."""
        if self.proc.poll() is not None:
            raise Failure("libtorrent's process ended")
        self.buf += self.proc.stdout.read() or b""
        *lines, self.buf = self.buf.split(b"\n")
        if lines:
            self.state = json.loads(lines[-1])
        if self.state.get("error"):
            raise Failure(f"libtorrent: {self.state['error']}")
        return self.state

    def complete(self):
        return self.status().get("seeding", False)

    def said(self, kind):
        """What trackers said, by the kind of the alert."""
        return [e for e in self.status().get("said", []) if e["kind"] == kind]

    def uploaded(self):
        """Payload bytes that it sent."""
        return self.status().get("uploaded", 0)

    def stop(self):
        self.lab.end(self.proc)
