"""A private torrent is named to nobody but those who have it: every packet of a run is looked at.

A public torrent runs beside it, on machines of its own. What the watcher must not see of the private one it must see of that.
"""
import time
from dataclasses import replace

import libtorrent as lt

from clients.base import Ways
from clients.dhtnodes import hub
from clients.libtorrent import Libtorrent
from clients.samara import Samara
from harness.data import Samples, same
from harness.lab import check, equal, wait_until
from harness.net import Network
from harness.registry import CASES
from harness.watch import Watcher

LSD_PORT = 6771
HELLO = b"\x13BitTorrent protocol"
PLAIN = {"out_enc_policy": 2, "in_enc_policy": 2}  # so that the watcher can read it
STAY = 5  # seconds, after all is done


def private(lab, sample):
    entry = lt.bdecode(sample.torrent.read_bytes())
    entry[b"info"][b"private"] = 1
    out = lab.root / "private.torrent"
    out.write_bytes(lt.bencode(entry))
    return replace(sample, torrent=out)


class Swarm:
    """A seed and a leech of ours and a leech of libtorrent's, which ask and tell whomever they may."""

    def __init__(self, lab, network, name, sample, ways):
        self.sample, self.name = sample, name
        self.folders = [lab.dir(f"{name}.{who}") for who in ("ours", "theirs")]
        self.seed, self.ours = Samara(lab, f"{name}.seed"), Samara(lab, f"{name}.leech")
        self.theirs = Libtorrent(lab, f"{name}.libtorrent", settings=PLAIN)
        for client in (self.seed, self.ours, self.theirs):
            client.ways, client.machine = ways, network.host()
            client.start()
        self.seed.share(sample.torrent, sample.copy_data(lab.dir(f"{name}.source")))
        self.ours.fetch(sample.torrent, self.folders[0], [self.seed], extra=["--seed"])
        self.theirs.fetch(sample.torrent, self.folders[1], [self.seed, self.ours])

    def finish(self):
        for client in (self.ours, self.theirs):
            client.wait()

    def stop(self, lab):
        for client in (self.theirs, self.ours, self.seed):
            client.stop()
        for folder in self.folders:
            same(lab.root / f"{self.name}.source" / self.sample.name, folder / self.sample.name)

    def traces(self, watcher, of_ours=False):
        """Where it was named, or something said that belongs to such; by anybody, or by ours alone."""
        senders = {client.host for client in (self.seed, self.ours)}
        info_hash = self.sample.info().info_hashes().v1.to_bytes()
        named = watcher.about([info_hash, info_hash.hex().encode(), info_hash.hex().upper().encode()])
        talk = watcher.between(senders | {self.theirs.host})
        if of_ours:
            named, talk = ([p for p in packets if p.source[0] in senders] for packets in (named, talk))
        # libtorrent sets the bit of the DHT always.
        hellos = [p.data for p in talk if p.data.startswith(HELLO) and p.source[0] != self.theirs.host]
        return {
            "hellos": bool(hellos),
            "lsd": [p for p in named if LSD_PORT in (p.source[1], p.target[1])],
            "dht": [p for p in named if LSD_PORT not in (p.source[1], p.target[1])],
            "dht in hello": [h for h in hellos if h[27] & 1],
            "pex": [p for p in talk if b"ut_pex" in p.data],
        }


def watched(lab, samples):
    network = Network(lab)
    first = network.host()
    ways = Ways(dht=(f"{first.ip4}:6969",), lsd=True, pex=True)
    watcher = Watcher(lab)
    hub(lab, ways.dht[0], first)
    public = Swarm(lab, network, "public", samples.get("single", "v1"), ways)
    hidden = Swarm(lab, network, "private", private(lab, samples.get("single", "v1")), ways)
    for swarm in (public, hidden):
        swarm.finish()
    wait_until(lambda: all(public.traces(watcher, of_ours=True).values()), 60, "ours names the public torrent in each way", 0.5)
    time.sleep(STAY)
    for swarm in (public, hidden):
        swarm.stop(lab)
    watcher.stop()
    found = hidden.traces(watcher)
    check(found.pop("hellos"), "the watcher saw nothing of the private torrent")
    for what, packets in found.items():
        equal(what, packets[:3], [])


def register(samples: Samples):
    CASES.add("private/every-packet", lambda lab: watched(lab, samples), 25)
