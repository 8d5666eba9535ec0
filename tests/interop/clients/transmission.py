"""transmission-daemon through its RPC. It cannot be told addresses, so the other side dials it."""
import base64
import json
import os
import socket

from clients import rpc
from clients.base import Client
from harness.lab import check, free_port, wait_until

SEEDING = 6


def saved_table(addresses):
    """What it saves of its nodes.

    It uses no DHT of less than nine nodes. Those of its table it asks every two seconds until there are enough; any other way to begin takes it a quarter of a minute for each.
    """
    nodes = b""
    for address in addresses:
        host, port = address.rsplit(":", 1)
        nodes += socket.inet_aton(host) + int(port).to_bytes(2, "big")
    return b"d2:id20:" + os.urandom(20) + b"5:nodes%d:%be" % (len(nodes), nodes)


class Transmission(Client):
    name = "transmission"
    formats = ("v1",)  # 3.00 reads the v1 half of a hybrid and misplaces its pad files
    dials = False
    pace = 14  # it decides about interest and choking every ten seconds
    keeps_empty = False

    def start(self):
        self.port, self.rpc = free_port(), free_port()
        self.session = ""
        config = self.lab.dir(f"{self.label}.config")
        (config / "settings.json").write_text(json.dumps({
            "bind-address-ipv4": self.host, "peer-port": self.port, "rpc-bind-address": self.host, "rpc-port": self.rpc,
            "rpc-whitelist-enabled": False, "rpc-host-whitelist-enabled": False, "dht-enabled": bool(self.ways.dht),
            "lpd-enabled": self.ways.lsd, "pex-enabled": self.ways.pex, "utp-enabled": False, "port-forwarding-enabled": False,
            "download-dir": str(config), "download-queue-enabled": False, "start-added-torrents": True}))
        if self.ways.dht:
            (config / "dht.dat").write_bytes(saved_table(self.ways.dht))
        self.proc = self.spawn(["transmission-daemon", "-f", "-g", config])
        wait_until(self.is_up, 20, "transmission answers")

    def is_up(self):
        check(self.proc.poll() is None, "transmission-daemon ended")
        try:
            return self.call("session-get", {})
        except OSError:
            return None

    def call(self, method, arguments):
        for _ in range(2):
            headers, answer = rpc.post_json(f"http://{self.host}:{self.rpc}/transmission/rpc",
                                             {"method": method, "arguments": arguments},
                                             {"X-Transmission-Session-Id": self.session})
            if answer is not None:
                check(answer["result"] == "success", f"transmission: {answer['result']}")
                return answer["arguments"]
            self.session = headers["X-Transmission-Session-Id"]
        raise AssertionError("transmission refuses the session id that it gave")

    def share(self, torrent, folder, peers=()):
        self.add(torrent, folder)
        self.call("torrent-verify", {"ids": [self.id]})
        self.wait(20)

    def fetch(self, source, folder, peers=()):
        self.add(source, folder)

    def add(self, source, folder):
        what = {"filename": source} if isinstance(source, str) \
            else {"metainfo": base64.b64encode(source.read_bytes()).decode()}
        added = self.call("torrent-add", {**what, "download-dir": str(folder), "paused": False})
        self.id = next(iter(added.values()))["id"]

    def complete(self):
        fields = ["status", "leftUntilDone", "metadataPercentComplete", "error", "errorString"]
        t = self.call("torrent-get", {"ids": [self.id], "fields": fields})["torrents"][0]
        check(t["error"] == 0, f"transmission: {t['errorString']}")
        return t["status"] == SEEDING and t["leftUntilDone"] == 0 and t["metadataPercentComplete"] == 1

    def stop(self):
        self.lab.end(self.proc, grace=10)
