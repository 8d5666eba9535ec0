"""Nodes of a DHT that belong to no transfer."""
import json
import subprocess
import sys
from pathlib import Path

from harness.lab import wait_until

NODES = Path(__file__).parent.parent / "lt_nodes.py"


class LibtorrentNodes:
    """Several of libtorrent in one process (`lt_nodes.py`), each on an address of its own."""

    def __init__(self, lab, addresses, label="nodes", machine=None, settings=None):
        self.addresses = addresses
        self.proc = lab.spawn(label, [sys.executable, NODES, json.dumps(settings or {}), *addresses], machine=machine,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do, **what):
        self.proc.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        self.proc.stdin.flush()
        return json.loads(self.proc.stdout.readline())

    def meet(self, nodes, limit=20):
        """Have each know these, and wait until it does."""
        self.ask("know", nodes=nodes)
        wait_until(lambda: min(self.ask("count")) >= len(nodes) - 1, limit, "nodes of libtorrent know each other", 0.2)
