"""Transfers between clients that nobody told of each other: by the DHT, by the local network, by peer exchange alone.

Each case has a network of its own, and each client a machine on it.
"""
from clients.aria2 import Aria2
from clients.base import Ways
from clients.dhtnodes import LibtorrentNodes, hub
from clients.libtorrent import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.samara import Samara
from clients.transmission import Transmission
from harness.data import Samples, same
from harness.lab import wait_until
from harness.net import Network
from harness.registry import CASES

STOCK = (Libtorrent, Qbittorrent, Transmission, Aria2)
WELL_KNOWN = 25401  # the port of the one bootstrap node that qBittorrent 4.5 asks; it has no setting for it
NODES = 12


def dht(lab, network, with_ours):
    """A DHT of some nodes of libtorrent, perhaps with our hub as the first."""
    machine = network.host(250)
    hosts = [machine.ip4] + [machine.alias(250 - n) for n in range(1, NODES)]
    addresses = [f"{host}:{WELL_KNOWN}" for host in hosts]
    if with_ours:
        hub(lab, addresses[0], machine)
    LibtorrentNodes(lab, addresses[with_ours:], machine=machine).meet(addresses)
    return tuple(addresses)


def by(way, lab, network, with_ours):
    if way == "dht":
        return Ways(dht=dht(lab, network, with_ours))
    return Ways(lsd=way == "lsd", pex=way == "pex")


def go_between(lab, network, sample, seed):
    """A libtorrent that holds nothing (it is too slow), and is connected to the seed."""
    middle = Libtorrent(lab, "middle")
    middle.ways, middle.machine = Ways(pex=True), network.host()
    middle.start()
    middle.fetch(sample.torrent, lab.dir("middle.data"), [seed], empty=True)
    wait_until(lambda: seed.address() in middle.status().get("peers", []), 20, "libtorrent is connected to the seed")
    return middle


def found(lab, sample, way, seed, leech):
    network = Network(lab)
    ways = by(way, lab, network, isinstance(seed, Samara) or isinstance(leech, Samara))
    source, target = sample.copy_data(lab.dir("source")), lab.dir("target")
    for client in (seed, leech):
        client.ways, client.machine = ways, network.host()
        client.start()
    seed.share(sample.torrent, source)
    if way == "pex":
        middle = go_between(lab, network, sample, seed)
        leech.fetch(sample.magnet(), target, [middle])
        if not leech.dials:
            middle.tell(dial=[leech.host, leech.port])
    else:
        leech.fetch(sample.magnet(), target)
    # libtorrent and Transmission exchange peers once a minute, and may just have done so.
    leech.wait(150 if way == "pex" else 60)
    leech.stop()
    same(source / sample.name, target / sample.name, leech.keeps_empty)
    seed.stop()


def add(samples, way, seed, leech):
    def run(lab):
        found(lab, samples.get("single", "v1"), way, seed(lab, "seed"), leech(lab, "leech"))
    CASES.add(f"discovery/{way}/{seed.name}-to-{leech.name}", run, 20)


def register(samples: Samples):
    for way in ("dht", "lsd", "pex"):
        for other in STOCK:
            add(samples, way, other, Samara)
            add(samples, way, Samara, other)


def register_self_check(samples: Samples):
    for way in ("dht", "lsd", "pex"):
        for other in STOCK:
            add(samples, way, other, Libtorrent)
            if other is not Libtorrent:
                add(samples, way, Libtorrent, other)
