"""Whole transfers between two clients, in both directions, verified byte for byte."""
from clients.aria2 import Aria2
from clients.libtorrent import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.samara import Samara
from clients.transmission import Transmission
from harness.data import FORMATS, Samples, same
from harness.registry import CASES

STOCK = (Libtorrent, Qbittorrent, Transmission, Aria2)


def transfer(lab, sample, seed, leech, magnet=""):
    """`magnet`: empty for the torrent file, `peers` to give addresses beside the link, `x.pe` to put them inside."""
    source, target = sample.copy_data(lab.dir("source")), lab.dir("target")
    seed.start()
    leech.start()
    if leech.dials:
        seed.share(sample.torrent, source)
        inside = [seed.port] if magnet == "x.pe" else []
        what = sample.magnet(inside) if magnet else sample.torrent
        leech.fetch(what, target, [] if inside else [seed])
    else:
        leech.fetch(sample.magnet() if magnet else sample.torrent, target)
        seed.share(sample.torrent, source, [leech])
    leech.wait()
    if isinstance(leech, Samara):
        same(source / sample.name, target / sample.name)  # complete means: every byte is in its file now
    leech.stop()
    seed.stop()
    same(source / sample.name, target / sample.name, leech.keeps_empty)


def add_transfer(samples, seed, leech, shape, fmt, magnet=""):
    def run(lab):
        transfer(lab, samples.get(shape, fmt), seed(lab, "seed"), leech(lab, "leech"), magnet)
    via = f"magnet-{magnet}" if magnet else "torrent"
    CASES.add(f"transfer/{seed.name}-to-{leech.name}/{fmt}/{shape}/{via}", run, seed.pace + leech.pace)


def magnet_ways(client):
    return ("peers", "x.pe") if client in (Samara, Libtorrent) else ("peers",)


def register(samples: Samples):
    """Every stock client as the other side of ours, and ours with ours."""
    for other in (*STOCK, Samara):
        for fmt in other.formats:
            for shape in ("single", "tree"):
                add_transfer(samples, other, Samara, shape, fmt)
                if other is not Samara:
                    add_transfer(samples, Samara, other, shape, fmt)
            for way in magnet_ways(Samara):
                add_transfer(samples, other, Samara, "tree", fmt, way)
            if other is not Samara and other.magnets:
                for way in magnet_ways(other):
                    add_transfer(samples, Samara, other, "tree", fmt, way)


def register_self_check(samples: Samples):
    """The stock clients with each other: shows that the drivers are right without our program."""
    for other in STOCK:
        for fmt in other.formats:
            if other is not Libtorrent:
                add_transfer(samples, other, Libtorrent, "tree", fmt)
            add_transfer(samples, Libtorrent, other, "tree", fmt)
            if other.magnets:
                add_transfer(samples, Libtorrent, other, "tree", fmt, "peers")


__all__ = ["FORMATS", "register", "register_self_check"]
