"""`get` killed at random moments goes on from what was written, and ends with the right bytes."""
import random
import time

import libtorrent as lt

from clients.libtorrent import Libtorrent
from clients.samara import Samara
from harness.data import KIB, fill, make_torrent, same
from harness.lab import check, equal
from harness.registry import CASES

SIZE = 96 * 1024 * KIB
RATE = 10 * 1024 * KIB          # bytes per second of the seed
KILLS = 10
LIFE = (0.5, 1.1)               # seconds until the next kill
# What a kill may cost: pieces in flight and in memory, never what was written. Most of it lies in the sockets, where the
# seed counts it as sent: some MiB on loopback, the more the busier the machine. Starting over would cost 80 MiB in all.
SLACK = KILLS * 4 * 1024 * KIB


def killed(fmt):
    def run(lab):
        chance = random.Random(time.time_ns())
        source, target = lab.dir("source"), lab.dir("target")
        fill(source / "big.bin", SIZE, 7)
        torrent = make_torrent(source / "big.bin", lab.root / "big.torrent", fmt, 256 * KIB)
        seed = Libtorrent(lab, "seed", upload_limit=RATE)
        seed.start()
        seed.share(torrent, source)
        leech = Samara(lab, "leech")
        kills = kill_often(leech, torrent, target, seed, chance)
        check(kills >= KILLS // 2, f"complete after {kills} kills: too fast to tell anything")
        leech.wait(60)
        same(source / "big.bin", target / "big.bin")
        sent = seed.uploaded()
        check(sent <= SIZE + SLACK, f"{sent >> 20} MiB were sent for {SIZE >> 20} MiB, with {kills} kills")
    return run


def kill_often(leech, torrent, target, seed, chance):
    for n in range(KILLS):
        leech.fetch(torrent, target, [seed])
        time.sleep(chance.uniform(*LIFE))
        if leech.complete():
            return n
        leech.kill()
    leech.fetch(torrent, target, [seed])
    return KILLS


def adopts(lab):
    """Data that is already there is hashed and kept; damaged data is fetched again."""
    source, target = lab.dir("source"), lab.dir("target")
    fill(source / "file.bin", 3_000_000, 8)
    torrent = make_torrent(source / "file.bin", lab.root / "file.torrent", "hybrid")
    seed = Libtorrent(lab, "seed")
    seed.start()
    seed.share(torrent, source)
    whole = (source / "file.bin").read_bytes()
    (target / "file.bin").write_bytes(whole[:1_000_000] + bytes(1000) + whole[1_001_000:])
    leech = Samara(lab, "leech")
    leech.fetch(torrent, target, [seed])
    leech.wait()
    same(source / "file.bin", target / "file.bin")
    piece = lt.torrent_info(str(torrent)).piece_length()
    check(seed.uploaded() <= 3 * piece, f"{seed.uploaded()} bytes were sent to repair 1000")


def folder_in_the_way(lab):
    """What was there under the name is moved aside, whole, and the user is told."""
    source, target = lab.dir("source"), lab.dir("target")
    fill(source / "file.bin", 300_000, 9)
    torrent = make_torrent(source / "file.bin", lab.root / "file.torrent", "v1")
    fill(target / "file.bin" / "mine", 10, 1)
    seed = Libtorrent(lab, "seed")
    seed.start()
    seed.share(torrent, source)
    leech = Samara(lab, "leech")
    leech.fetch(torrent, target, [seed])
    leech.wait()
    same(source / "file.bin", target / "file.bin")
    kept = [str(p.relative_to(target)) for p in target.rglob("mine")]
    equal("what was there", [(target / p).stat().st_size for p in kept], [10])
    aside = kept[0].split("/")[0]
    check(any(aside in w["message"] for w in leech.events("warning")), f"nobody says that {aside} was moved")


def register():
    for fmt in ("v1", "v2"):
        CASES.add(f"crash/killed-ten-times/{fmt}", killed(fmt), 30)
    CASES.add("crash/adopts-what-is-there", adopts, 4)
    CASES.add("crash/folder-in-the-way", folder_in_the_way, 3)
