"""WebTorrent in a page of Chromium: a peer that has WebRTC and nothing else."""
import http.server
import json
import os
import threading
from pathlib import Path
from urllib.parse import urlencode

from clients.base import Client
from harness.data import PIECE
from harness.lab import HOST, Failure, equal, wait_until

PAGE = Path(__file__).parent.parent / "page" / "peer.html"

# Without a window, a sandbox (for root) or anything that talks to the maker; peers on this machine and its own addresses.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
         "--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"]


def bundle():
    return Path(os.environ["INTEROP_NODE"]) / "node_modules/webtorrent/dist/webtorrent.min.js"


class Browser(Client):
    name = "webtorrent"
    formats = ("v1",)
    dials = False
    pace = 8

    def __init__(self, lab, label, tracker):
        super().__init__(lab, label)
        self.tracker, self.said = tracker, []
        self.data = self.target = None

    def start(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                kind, path = owner.find(self.path.split("?")[0])
                body = path.read_bytes() if path else b""
                self.send_response(200 if path else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                owner.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.lab.at_end(self.server.server_close)
        self.lab.at_end(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find(self, path):
        return {"/peer": ("text/html", PAGE), "/webtorrent.min.js": ("text/javascript", bundle()),
                "/data": ("application/octet-stream", self.data)}.get(path, ("text/plain", None))

    def take(self, path, body):
        if path == "/file":
            self.target.write_bytes(body)
        else:
            self.said.append(json.loads(body))

    def open(self, **query):
        url = f"http://{HOST}:{self.server.server_port}/peer?" + urlencode({"tracker": self.tracker, **query})
        profile = self.lab.dir(f"{self.label}.profile")
        self.proc = self.lab.spawn(self.label, ["chromium", *FLAGS, f"--user-data-dir={profile}", url])

    def share(self, torrent, folder, peers=()):
        """Only torrents of one file whose info dictionary WebTorrent would write alike."""
        import libtorrent as lt
        info = lt.torrent_info(str(torrent))
        self.data = folder / info.name()
        self.open(name=info.name(), piece=PIECE)
        seeding = wait_until(lambda: self.heard("seeding"), 40, "the page seeds")
        equal("the info-hash", seeding["infoHash"], str(info.info_hashes().v1))

    def fetch(self, source, folder, peers=()):
        """From a magnet link of a torrent of one file, whose name is known: `single.bin`."""
        self.target = folder / "single.bin"
        self.open(magnet=source)

    def heard(self, kind):
        errors = [s["message"] for s in self.said if s["kind"] in ("error", "warning")]
        if errors:
            raise Failure(f"the page: {errors[0]}")
        return next((s for s in list(self.said) if s["kind"] == kind), None)

    def complete(self):
        return self.heard("done")

    def stop(self):
        self.lab.end(self.proc)
