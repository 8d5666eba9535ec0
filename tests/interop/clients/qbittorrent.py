"""qbittorrent-nox through its web API, with a profile of its own."""
import json

from clients import rpc
from clients.base import Client
from harness.lab import check, free_port, wait_until

CONFIG = """\
[LegalNotice]
Accepted=true

[BitTorrent]
Session\\Port={port}
Session\\InterfaceAddress={host}
Session\\BTProtocol=TCP
Session\\DHTEnabled={dht}
Session\\LSDEnabled={lsd}
Session\\PeXEnabled={pex}
Session\\QueueingSystemEnabled=false
Session\\MultiConnectionsPerIp=true

[Network]
PortForwardingEnabled=false

[Preferences]
General\\Locale=en
WebUI\\Address={host}
WebUI\\Port={rpc}
WebUI\\LocalHostAuth=false
WebUI\\AuthSubnetWhitelistEnabled=true
WebUI\\AuthSubnetWhitelist=10.9.0.0/16
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
WebUI\\UseUPnP=false
"""


class Qbittorrent(Client):
    name = "qbittorrent"

    def start(self):
        self.port, self.rpc = free_port(), free_port()
        profile = self.lab.dir(f"{self.label}.profile")
        config = profile / "qBittorrent" / "config"
        config.mkdir(parents=True)
        (config / "qBittorrent.conf").write_text(CONFIG.format(
            port=self.port, rpc=self.rpc, host=self.host, dht=bool(self.ways.dht), lsd=self.ways.lsd, pex=self.ways.pex))
        self.proc = self.spawn(["qbittorrent-nox", f"--profile={profile}"],
                                   env={"QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8"})
        wait_until(self.is_up, 30, "qbittorrent answers")

    def is_up(self):
        check(self.proc.poll() is None, "qbittorrent-nox ended")
        try:
            return self.call("app/version")
        except OSError:
            return None

    def call(self, path, body=None, headers=None):
        return rpc.request(f"http://{self.host}:{self.rpc}/api/v2/{path}", body, headers)[1].decode()

    def share(self, torrent, folder, peers=()):
        self.add(torrent, folder)
        self.wait(20)
        self.dial(peers)

    def fetch(self, source, folder, peers=()):
        self.add(source, folder)
        self.dial(peers)

    def add(self, source, folder):
        fields = {"savepath": folder, "autoTMM": "false", "paused": "false", "contentLayout": "Original"}
        files = {}
        if isinstance(source, str):
            fields["urls"] = source
        else:
            files["torrents"] = (source.name, source.read_bytes())
        answer = self.call("torrents/add", *rpc.multipart(fields, files))
        check(answer.startswith("Ok"), f"qbittorrent refuses the torrent: {answer}")
        self.id = wait_until(self.torrents, 20, "qbittorrent lists the torrent")[0]["hash"]

    def torrents(self):
        return json.loads(self.call("torrents/info"))

    def dial(self, peers):
        if peers:
            addresses = "|".join(p.address() for p in peers)
            self.call("torrents/addPeers", rpc.form({"hashes": self.id, "peers": addresses}))

    def complete(self):
        t = self.torrents()[0]
        check(t["state"] not in ("error", "missingFiles"), f"qbittorrent: {t['state']}")
        return t["progress"] == 1 and t["state"] in ("uploading", "stalledUP", "forcedUP")

    def stop(self):
        self.lab.end(self.proc, grace=10)
