"""Nodes of a DHT that belong to no transfer."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import libtorrent as lt

from clients.samara import binary
from harness.lab import check, wait_until

NODES = Path(__file__).parent.parent / "lt_nodes.py"


class LibtorrentNodes:
    """Several of libtorrent in one process (`lt_nodes.py`), each on an address of its own."""

    def __init__(self, lab, addresses, label="nodes", machine=None, bootstrap=""):
        self.addresses = addresses
        settings = json.dumps({"dht_bootstrap_nodes": bootstrap})
        self.proc = lab.spawn(label, [sys.executable, NODES, settings, *addresses], machine=machine,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do, **what):
        self.proc.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        self.proc.stdin.flush()
        return json.loads(self.proc.stdout.readline())

    def meet(self, nodes, limit=20):
        """Have each know these, and wait until it does."""
        self.ask("know", nodes=nodes)
        self.wait_for(len(nodes) - 1, limit)

    def wait_for(self, count, limit):
        wait_until(lambda: min(self.ask("count")) >= count, limit, f"each node of libtorrent knows {count}", 0.2)


class Process:
    """One of ours that is a node and no more."""

    def __init__(self, lab, label, argv, machine=None):
        self.out = lab.root / f"{label}.events"
        with open(self.out, "wb") as out:
            self.proc = lab.spawn(label, [binary(), "--json", *argv], machine=machine, stdout=out)
        self.label = label

    def events(self, kind):
        check(self.proc.poll() is None, f"{self.label} exited with {self.proc.returncode}")
        text = self.out.read_text()
        events = [json.loads(ln) for ln in text[:text.rfind("\n") + 1].splitlines()]
        return [e for e in events if e["event"] == kind]

    def wait_listening(self):
        wait_until(lambda: self.events("listening"), 20, f"{self.label} listens")
        return self

    def kill(self):
        self.proc.kill()
        self.proc.wait()


def known(address):
    """How many others a node names when asked."""
    host, port = address.rsplit(":", 1)
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    question = lt.bencode({b"a": {b"id": os.urandom(20), b"target": os.urandom(20)}, b"q": b"find_node", b"ro": 1,
                           b"t": b"kn", b"y": b"q"})
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(question, (host.strip("[]"), int(port)))
        try:
            answer = lt.bdecode(s.recv(2048)).get(b"r", {})
        except TimeoutError:
            return 0
    return len(answer.get(b"nodes", b"")) // 26 + len(answer.get(b"nodes6", b"")) // 38


def hub(lab, address, machine=None):
    """Our hub as the first node of a DHT."""
    argv = ["hub", "--only", "dht", "--udp", address, "--dht-bootstrap", "none"]
    return Process(lab, "hub", argv, machine).wait_listening()


def node(lab, label, address, bootstrap):
    argv = ["dht", "node", "--listen", address, "--dht-bootstrap", bootstrap, "--state-dir", lab.dir(f"{label}.state")]
    return Process(lab, label, argv)
