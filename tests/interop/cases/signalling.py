"""WebRTC peers that find each other through our tracker, over WebSockets; nothing else leads them to each other."""
import json
import os
from pathlib import Path

from clients.browser import Browser
from clients.hub import Hub
from clients.libtorrent import Libtorrent
from harness.data import Samples, same
from harness.lab import equal
from harness.registry import CASES

CLIENT = Path(__file__).parent.parent / "page" / "client.mjs"


class RtcLibtorrent(Libtorrent):
    """libtorrent that connects by WebRTC only."""

    def __init__(self, lab, label, tracker):
        settings = {f"enable_{way}_{what}": False for way in ("incoming", "outgoing") for what in ("tcp", "utp")}
        super().__init__(lab, label, settings={**settings, "webtorrent_stun_server": ""}, trackers=[tracker])


PEERS = (Browser, RtcLibtorrent)


def meet(lab, sample, seed, leech):
    tracker = Hub(lab).start().url("ws", "/")
    seed, leech = seed(lab, "seed", tracker), leech(lab, "leech", tracker)
    source, target = sample.copy_data(lab.dir("source")), lab.dir("target")
    seed.start()
    leech.start()
    seed.share(sample.torrent, source)
    leech.fetch(sample.magnet(), target)
    leech.wait(60)
    leech.stop()
    seed.stop()
    same(source / sample.name, target / sample.name)


def ask(lab, url, info_hash):
    """What npm's client heard from announce to goodbye."""
    out = lab.root / "client.events"
    with open(out, "wb") as file:
        done = lab.spawn("client", ["node", CLIENT, url, info_hash], cwd=os.environ["INTEROP_NODE"], stdout=file)
    equal("exit", done.wait(30), 0)
    return [json.loads(ln) for ln in out.read_text().splitlines()]


def counts(lab):
    hub, info_hash = Hub(lab).start(), "00" * 10 + "ff" * 10
    heard = ask(lab, hub.url("ws"), info_hash)
    equal("answers", heard, [
        {"kind": "update", "interval": 120, "complete": 0, "incomplete": 1},
        {"kind": "update", "interval": 120, "complete": 1, "incomplete": 0},
        {"kind": "scrape", "infoHash": info_hash, "complete": 1, "incomplete": 0, "downloaded": 1},
        {"kind": "update", "interval": 120, "complete": 0, "incomplete": 0},
    ])


def refusal(lab):
    denied = "80" * 20
    (lab.root / "deny").write_text(denied)
    hub = Hub(lab).start("--deny-list", lab.root / "deny")
    heard = ask(lab, hub.url("ws"), denied)
    equal("answers", heard, [{"kind": "warning", "message": "this tracker does not serve this torrent"}])


def add_meeting(sample, seed, leech):
    names = {Browser: "webtorrent", RtcLibtorrent: "libtorrent"}
    CASES.add(f"signalling/{names[seed]}-to-{names[leech]}", lambda lab: meet(lab, sample, seed, leech),
              seed.pace + leech.pace)


def register(samples: Samples):
    for seed in PEERS:
        for leech in PEERS:
            add_meeting(samples.get("single", "v1"), seed, leech)
    CASES.add("signalling/npm-client/counts", counts, 2)
    CASES.add("signalling/npm-client/refusal", refusal, 2)
