"""aria2c through its JSON-RPC. It cannot be told addresses, so the other side dials it."""
import base64

from clients import rpc
from clients.base import Client
from harness.lab import check, free_port, wait_until


def said(flag):
    return "true" if flag else "false"


class Aria2(Client):
    name = "aria2"
    formats = ("v1",)
    dials = False
    magnets = False  # a download from a magnet link asks trackers and the DHT first, and both are off

    def start(self):
        self.port, self.rpc = free_port(), free_port()
        self.proc = self.spawn([
            "aria2c", "--no-conf", "--enable-rpc", f"--rpc-listen-port={self.rpc}", f"--listen-port={self.port}",
            f"--interface={self.host}", *self.dht(), f"--bt-enable-lpd={said(self.ways.lsd)}",
            f"--enable-peer-exchange={said(self.ways.pex)}", f"--rpc-listen-all={said(self.machine)}",
            "--file-allocation=none", "--seed-ratio=0.0", "--seed-time=9999", "--quiet=true", "--check-integrity=true",
            "--bt-hash-check-seed=true", "--allow-overwrite=true", "--follow-torrent=false"])
        wait_until(self.is_up, 20, "aria2 answers")

    def dht(self):
        """Off, unless trackers are asked: those of UDP it asks from the socket of its DHT, which knows nobody here."""
        if not self.ask_trackers and not self.ways.dht:
            return ["--enable-dht=false"]
        table = self.lab.dir(f"{self.label}.dht") / "table"
        entry = [f"--dht-entry-point={self.ways.dht[0]}"] if self.ways.dht else []
        return ["--enable-dht=true", f"--dht-listen-port={free_port()}", f"--dht-file-path={table}", *entry]

    def is_up(self):
        check(self.proc.poll() is None, "aria2c ended")
        try:
            return self.call("aria2.getVersion")
        except OSError:
            return None

    def call(self, method, *params):
        _, answer = rpc.post_json(f"http://{self.host}:{self.rpc}/jsonrpc",
                                   {"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
        return answer["result"]

    def share(self, torrent, folder, peers=()):
        self.fetch(torrent, folder)
        self.wait(20)

    def fetch(self, source, folder, peers=()):
        options = {"dir": str(folder)}
        if isinstance(source, str):
            self.id = self.call("aria2.addUri", [source], options)
        else:
            self.id = self.call("aria2.addTorrent", base64.b64encode(source.read_bytes()).decode(), [], options)

    def complete(self):
        s = self.call("aria2.tellStatus", self.id)
        check(s["status"] != "error", f"aria2: {s.get('errorMessage')}")
        if "followedBy" in s:  # that was the metadata of a magnet link
            self.id, = s["followedBy"]
            return False
        checking = "verifiedLength" in s or "verifyIntegrityPending" in s
        return s.get("seeder") == "true" and s["completedLength"] == s["totalLength"] and not checking

    def stop(self):
        self.lab.end(self.proc, grace=10)
