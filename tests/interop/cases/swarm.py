"""Crowds: one seed and many leeches, of one kind and mixed, and seeds that hold a part each.

Every upload is limited, so that a crowd has to help itself. No case fails because of the clock: what is held is who
completed, and how much the seed had to send. `run.py --long swarm` takes larger files and prints the times.
"""
import math
import random
import statistics
import time

from clients.libtorrent import Libtorrent
from clients.samara import Samara
from harness.data import KIB, fill, make_torrent, same
from harness.lab import check, wait_until
from harness.registry import CASES

MIB = 1024 * KIB
# A seed that sends each piece twice would reach 2; rivals' seeds send 1.3 to 2.9 copies.
MOST_COPIES = 1.4


class Size:
    """Bytes of the file and of a piece, bytes a second of each upload, leeches."""

    def __init__(self, file, piece, rate, leeches):
        self.file, self.piece, self.rate, self.leeches = file, piece, rate, leeches

    def bound(self):
        """The least time in which anybody could do it (Kumar and Ross 2006)."""
        n, f, u = self.leeches, self.file, self.rate
        return max(f / u, n * f / (u + n * u))


SHORT = Size(8 * MIB, 64 * KIB, MIB, 6)
LONG = Size(64 * MIB, 256 * KIB, 4 * MIB, 8)


def make(lab, size):
    source = lab.dir("source")
    fill(source / "file.bin", size.file, 11)
    return source, make_torrent(source / "file.bin", lab.root / "file.torrent", "v1", size.piece)


def start_samara(lab, label, size):
    client = Samara(lab, label)
    client.extra = ["--limit-up", str(size.rate)]
    return client


def start_libtorrent(lab, label, size):
    client = Libtorrent(lab, label, upload_limit=size.rate)
    client.start()
    return client


def fetch(client, torrent, folder, peers):
    if isinstance(client, Samara):
        client.fetch(torrent, folder, peers, extra=["--seed", *client.extra])
    else:
        client.fetch(torrent, folder, peers)


def sent(client):
    """Payload bytes that a Samara sent."""
    told = client.events("progress")
    return told[-1]["uploaded"] if told else 0


def wait_for_all(clients, limit):
    """Seconds after which each was complete, in the order of `clients`."""
    start, done = time.monotonic(), {}

    def probe():
        for client in clients:
            if client.label not in done and client.complete():
                done[client.label] = time.monotonic() - start
        return len(done) == len(clients)
    wait_until(probe, limit, "everyone completes", 0.02)
    return [done[client.label] for client in clients]


def crowd(kinds, size, long):
    """`kinds` starts the leeches, in turn."""
    def run(lab):
        source, torrent = make(lab, size)
        seed = start_samara(lab, "seed", size)
        seed.begin("seed", torrent, source, *seed.extra, *seed.net(()))
        seed.wait_event("seeding", 20)
        leeches = [kinds[n % len(kinds)](lab, f"leech{n}", size) for n in range(size.leeches)]
        known = [seed]
        for leech in leeches:
            fetch(leech, torrent, lab.dir(f"{leech.label}.data"), known)
            known.append(leech)
        times = wait_for_all(leeches, 20 * size.bound() + 30)
        for leech in leeches:
            if isinstance(leech, Libtorrent):
                leech.stop()  # it says that it is complete before all is written
            same(source / "file.bin", lab.dir(f"{leech.label}.data") / "file.bin")
        copies = sent(seed) / size.file
        if long:
            tell(leeches, times, copies, size)
        check(copies <= MOST_COPIES, f"the seed sent {copies:.2f} copies")
    return run


def tell(leeches, times, copies, size):
    by_kind = {}
    for leech, seconds in zip(leeches, times):
        by_kind.setdefault(leech.name, []).append(seconds)
    kinds = "; ".join(f"{k} {min(v):.1f} / {statistics.median(v):.1f} / {max(v):.1f} s" for k, v in by_kind.items())
    print(f"     first / median / last: {kinds}; bound ÷ last {size.bound() / max(times):.2f}, "
          f"the seed sent {copies:.2f} copies", flush=True)


def halves(kill, size, long):
    """Four that have a random half each, every piece at two of them, and one that has nothing."""
    def run(lab):
        source, torrent = make(lab, size)
        data = (source / "file.bin").read_bytes()
        chance, pieces = random.Random(5), math.ceil(size.file / size.piece)
        order = chance.sample(range(pieces), pieces)
        parts = [set(order[:pieces // 2]), set(order[pieces // 2:])]
        order = chance.sample(range(pieces), pieces)
        parts += [set(order[:pieces // 2]), set(order[pieces // 2:])]
        sources = []
        for n, part in enumerate(parts):
            client = start_samara(lab, f"part{n}", size)
            folder = lab.dir(f"part{n}.data")
            blank = bytes(size.piece)
            have = [data[p * size.piece:(p + 1) * size.piece] if p in part else blank for p in range(pieces)]
            (folder / "file.bin").write_bytes(b"".join(have))
            fetch(client, torrent, folder, ())
            client.wait_event("progress", 20, lambda e: e["done"] >= size.file // 3)
            sources.append(client)
        leech = start_samara(lab, "leech", size)
        start = time.monotonic()
        leech.fetch(torrent, lab.dir("target"), sources, extra=leech.extra)
        if kill:
            leech.wait_event("progress", 60, lambda e: e["done"] >= size.file // 4)
            sources[2].kill()
            sources[3].kill()
        leech.wait(20 * size.bound() + 30)
        took = time.monotonic() - start
        same(source / "file.bin", lab.dir("target") / "file.bin")
        if long:
            print(f"     {took:.1f} s, {size.file / (4 * size.rate) / took:.2f} of the ideal", flush=True)
        if not kill:
            # A part that the leech left alone for the others would have sent next to nothing.
            shares = [sent(client) / size.file for client in sources]
            check(min(shares) > 0.1, f"not all served: {shares}")
    return run


def register(long=False):
    size = LONG if long else SHORT
    weight = 60 if long else 15
    CASES.add("swarm/samara", crowd([start_samara], size, long), weight)
    CASES.add("swarm/mixed", crowd([start_samara, start_libtorrent], size, long), weight)
    if long:
        CASES.add("swarm/libtorrent", crowd([start_libtorrent], size, long), weight)
    CASES.add("swarm/halves", halves(False, size, long), weight)
    CASES.add("swarm/halves-two-killed", halves(True, size, long), weight)
