"""aria2c through its JSON-RPC. It cannot be told addresses, so the other side dials it."""
import base64

from clients import rpc
from clients.base import Client
from harness.lab import HOST, check, free_port, wait_until


class Aria2(Client):
    name = "aria2"
    formats = ("v1",)
    dials = False
    magnets = False  # a download from a magnet link asks trackers and the DHT first, and both are off

    def start(self):
        self.port, self.rpc = free_port(), free_port()
        self.proc = self.lab.spawn(self.label, [
            "aria2c", "--no-conf", "--enable-rpc", f"--rpc-listen-port={self.rpc}", f"--listen-port={self.port}",
            f"--interface={HOST}", *self.dht(), "--bt-enable-lpd=false", "--enable-peer-exchange=false",
            "--file-allocation=none", "--seed-ratio=0.0", "--seed-time=9999", "--quiet=true", "--check-integrity=true",
            "--bt-hash-check-seed=true", "--allow-overwrite=true", "--follow-torrent=false"])
        wait_until(self.is_up, 20, "aria2 answers")

    def dht(self):
        """Off, unless trackers are asked: those of UDP it asks from the socket of its DHT, which knows nobody here."""
        if not self.ask_trackers:
            return ["--enable-dht=false"]
        table = self.lab.dir(f"{self.label}.dht") / "table"
        return ["--enable-dht=true", f"--dht-listen-port={free_port()}", f"--dht-file-path={table}"]

    def is_up(self):
        check(self.proc.poll() is None, "aria2c ended")
        try:
            return self.call("aria2.getVersion")
        except OSError:
            return None

    def call(self, method, *params):
        _, answer = rpc.post_json(f"http://{HOST}:{self.rpc}/jsonrpc",
                                   {"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
        return answer["result"]

    def share(self, torrent, folder, peers=()):
        self.fetch(torrent, folder)
        self.wait(20)

    def fetch(self, source, folder, peers=()):
        self.id = self.call("aria2.addTorrent", base64.b64encode(source.read_bytes()).decode(), [], {"dir": str(folder)})

    def complete(self):
        s = self.call("aria2.tellStatus", self.id)
        check(s["status"] != "error", f"aria2: {s.get('errorMessage')}")
        checking = "verifiedLength" in s or "verifyIntegrityPending" in s
        return s.get("seeder") == "true" and s["completedLength"] == s["totalLength"] and not checking

    def stop(self):
        self.lab.end(self.proc, grace=10)
