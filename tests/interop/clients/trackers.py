"""Trackers that others run, each with HTTP and UDP on loopback, as processes of their own."""
import json
import os
import shutil
import urllib.parse
from pathlib import Path

from clients import rpc
from harness.lab import HOST, Failure, free_port, wait_until

SERVER = Path(__file__).parent.parent / "page" / "server.mjs"


class Opentracker:
    """opentracker, which Debian builds so that it serves listed torrents only, and which wants to change its root folder."""
    name = "opentracker"
    schemes = ("http", "udp")

    def __init__(self, lab, hashes):
        self.lab, self.hashes = lab, hashes

    def start(self):
        self.port = free_port()
        folder = self.lab.dir("opentracker")
        for path in (folder.parent, folder):
            path.chmod(0o755)  # it reads its list as nobody
        (folder / "whitelist.txt").write_text("".join(f"{h}\n" for h in self.hashes))
        config = folder / "opentracker.conf"
        config.write_text(f"listen.tcp_udp {HOST}:{self.port}\naccess.whitelist whitelist.txt\n"
                          f"tracker.rootdir {folder}\ntracker.user nobody\n")
        self.proc = self.lab.spawn("opentracker", [shutil.which("opentracker"), "-f", config])
        wait_until(self.serves, 20, "opentracker serves what is on its list")
        return self

    def serves(self):
        """Whether it has read its list, which it does some time after it began to listen."""
        query = urllib.parse.urlencode({"info_hash": bytes.fromhex(self.hashes[0]), "peer_id": b"-XX0000-000000000000", "port": 1,
                                        "uploaded": 0, "downloaded": 0, "left": 0, "event": "stopped"})
        try:
            _, body = rpc.request(f"{self.url('http')}?{query}")
        except OSError:
            return False
        return b"failure" not in body

    def url(self, scheme):
        return f"{scheme}://{HOST}:{self.port}/announce"


class NpmTracker:
    """The server of npm's bittorrent-tracker."""
    name = "npm"
    schemes = ("http", "udp")

    def __init__(self, lab, hashes):
        self.lab = lab

    def start(self, host=HOST):
        self.out = self.lab.root / "npm.events"
        with open(self.out, "wb") as out:
            argv = ["node", SERVER, host]
            self.proc = self.lab.spawn("npm", argv, cwd=os.environ["INTEROP_NODE"], stdout=out)
        self.ports = wait_until(self.heard, 20, "the tracker of npm listens")
        self.host = f"[{host}]" if ":" in host else host
        return self

    def heard(self):
        if self.proc.poll() is not None:
            raise Failure(f"the tracker of npm exited with {self.proc.returncode}")
        text = self.out.read_text()
        return json.loads(text) if text.endswith("\n") else None

    def url(self, scheme):
        return f"{scheme}://{self.host}:{self.ports[scheme]}/announce"
