"""Peers that break the protocol, beside a good one: each is dropped with the right name, the transfer completes, and
memory stays bounded."""
import os
import struct
import time

import libtorrent as lt

from clients.libtorrent import Libtorrent
from clients.samara import Samara
from harness.data import PIECE, same
from harness.lab import check, wait_until
from harness.registry import CASES
from harness.wire import (BITFIELD, EXTENDED, HASH_REQUEST, HASHES, HAVE, HAVE_ALL, HAVE_NONE, INTERESTED, PIECE as BLOCK_MESSAGE,
                          REQUEST, UNCHOKE, Hostile, extension_handshake, message)

GOOD_RATE = 1_000_000   # bytes per second of the good seed: the bad ones get their chance
MAX_RSS = 128 * 1024 * 1024
BAD_PEERS = 3
DEAF_PEERS = 6  # fewer than there are upload slots: with more, the next leech waits until they time out
BLOCK = 16 * 1024


def garbage(w):
    w.send(os.urandom(4096))
    w.drain()


def wrong_hash(w):
    w.handshake(os.urandom(20))
    w.drain()


def huge_length(w):
    w.handshake()
    w.send(b"\xff\xff\xff\xff" + bytes([EXTENDED]) + bytes(65536))
    w.drain()


def long_bitfield(w):
    w.handshake()
    w.send(struct.pack(">IB", 1 << 24, BITFIELD))
    while True:
        w.send(bytes(65536))


def short_have(w):
    w.handshake()
    w.send(message(HAVE_ALL), message(HAVE, b"\0\0"))
    w.drain()


def far_have(w):
    w.handshake()
    w.send(message(HAVE_ALL), message(HAVE, b"\x7f\xff\xff\xff"))
    w.drain()


def bitfield_flood(w):
    """One bitfield may replace another, but each is work for us."""
    w.handshake()
    w.send(message(HAVE_ALL), message(UNCHOKE))
    while True:
        w.send(message(HAVE_ALL) * 1000)


def second_thoughts(w):
    w.handshake()
    w.send(message(HAVE_ALL), message(HAVE_NONE))
    w.drain()


def bencode_bomb(w):
    w.handshake()
    w.send(message(EXTENDED, b"\0" + b"d1:m" + b"l" * 100_000))
    w.drain()


def unasked(w):
    w.handshake()
    w.send(message(HAVE_ALL), message(UNCHOKE))
    block = message(BLOCK_MESSAGE, struct.pack(">II", 0, 0) + os.urandom(BLOCK))
    while True:
        w.send(block)


def liar(w):
    """Answers every request with noise."""
    w.handshake()
    w.send(message(HAVE_ALL), message(UNCHOKE))
    while True:
        kind, payload = w.read()
        if kind == REQUEST:
            index, begin, length = struct.unpack(">III", payload)
            w.send(message(BLOCK_MESSAGE, struct.pack(">II", index, begin) + os.urandom(length)))


def request_flood(w):
    w.handshake()
    w.send(message(INTERESTED))
    requests = b"".join(message(REQUEST, struct.pack(">III", 0, 0, BLOCK)) for _ in range(4096))
    while True:
        w.send(requests)


def far_request(w):
    w.handshake()
    w.send(message(INTERESTED), message(REQUEST, struct.pack(">III", 1 << 30, 0, BLOCK)))
    w.drain()


def message_flood(w):
    w.handshake()
    w.send(message(HAVE_ALL))
    while True:
        w.send(message(INTERESTED) * 10_000)


def silent(w):
    w.drain()


def slow_loris(w):
    for byte in b"\x13BitTorrent protocol":
        w.send(bytes([byte]))
        time.sleep(2)
    w.drain()


def never_delivers(w):
    w.handshake()
    w.send(message(HAVE_ALL), message(UNCHOKE))
    w.drain()


def false_metadata(w):
    """Offers an info dictionary of noise."""
    noise = os.urandom(20_000)
    offer_metadata(w, noise)
    while True:
        serve_metadata(w, noise, *w.read())


def false_hashes(w):
    """Gives the true info dictionary, and answers hash requests with noise (BEP 52)."""
    offer_metadata(w, w.info)
    while True:
        kind, payload = w.read()
        serve_metadata(w, w.info, kind, payload)
        if kind == HASH_REQUEST:
            count = struct.unpack(">IIII", payload[32:48])[2]
            w.send(message(HASHES, payload + os.urandom(32 * count)))


def offer_metadata(w, info):
    w.handshake()
    w.send(extension_handshake(metadata_size=len(info)), message(HAVE_ALL), message(UNCHOKE))


def serve_metadata(w, info, kind, payload):
    """Answer if it is a request for metadata (BEP 9)."""
    if kind == EXTENDED and payload[0] == 0:
        w.ids = lt.bdecode(payload[1:]).get(b"m", {})
    elif kind == EXTENDED and payload[0] == 3:
        piece = lt.bdecode(payload[1:])[b"piece"]
        head = lt.bencode({b"msg_type": 1, b"piece": piece, b"total_size": len(info)})
        part = info[piece * BLOCK:(piece + 1) * BLOCK]
        w.send(message(EXTENDED, bytes([w.ids[b"ut_metadata"]]) + head + part))


# Behaviour, the reasons under which it may be dropped, the format, and whether the download starts from a magnet link.
# None: nothing is wrong enough to be dropped for within the test.
CASES_OF = [
    (garbage, {"bad-handshake"}, "v1", False),
    (wrong_hash, {"wrong-info-hash"}, "v1", False),
    (huge_length, {"oversized-message"}, "v1", False),
    (long_bitfield, {"oversized-message", "malformed-message"}, "v1", False),
    (short_have, {"malformed-message"}, "v1", False),
    (far_have, {"out-of-range"}, "hybrid", False),
    (bitfield_flood, {"message-flood"}, "v1", False),
    (second_thoughts, {"misplaced-bitfield"}, "v1", False),
    (bencode_bomb, {"malformed-extension", "oversized-message"}, "v1", False),
    (unasked, {"unrequested-blocks"}, "v1", False),
    (liar, {"bad-pieces"}, "v1", False),
    (liar, {"bad-pieces"}, "v2", False),
    (liar, {"bad-pieces"}, "hybrid", False),
    (request_flood, {"request-flood", "message-flood"}, "v1", False),
    (far_request, {"out-of-range"}, "v1", False),
    (message_flood, {"message-flood"}, "v1", False),
    (silent, {"handshake-timeout"}, "v1", False),
    (slow_loris, {"handshake-timeout"}, "v1", False),
    (never_delivers, None, "v2", False),
    (false_metadata, {"bad-metadata"}, "v2", True),
    (false_hashes, {"bad-hashes"}, "v2", True),
]
SLOW = (silent, slow_loris)
# libtorrent neither drops these nor gets its transfer done within a minute.
TOO_MUCH_FOR_LIBTORRENT = (bitfield_flood, unasked, request_flood, message_flood, false_metadata)


def departures(samara, addresses):
    return [e["reason"] for e in samara.events("peer") if e.get("reason") and e["addr"] in addresses]


def good_and_bad(lab, sample, act):
    """A slow client that will be the honest seed, and peers that behave as `act` says."""
    good = Libtorrent(lab, "good", upload_limit=GOOD_RATE)
    good.start()
    sample.copy_data(lab.dir("source"))
    bad = [Hostile(sample, act) for _ in range(BAD_PEERS)]
    for b in bad:
        lab.at_end(b.close)
    return good, bad


def hostile(samples, act, reasons, fmt, magnet):
    """With a magnet link the bad peers come first, so that they are the ones to be asked for what it lacks."""
    def run(lab):
        sample = samples.get("single", fmt)
        source, target = lab.dir("source"), lab.dir("target")
        good, bad = good_and_bad(lab, sample, act)
        samara = Samara(lab, "samara")
        if magnet:
            samara.fetch(sample.magnet(), target, bad, ["--seed"])
            expect_departures(samara, bad, reasons)
            good.share(sample.torrent, source, [samara])
        else:
            good.share(sample.torrent, source)
            samara.fetch(sample.torrent, target, [*bad, good], ["--seed"])
            bad[0].dial(samara.port)
        samara.wait_event("complete", 60)
        same(source / sample.name, target / sample.name)
        if reasons:
            expect_departures(samara, bad, reasons)
        peak = samara.peak_rss()
        check(peak < MAX_RSS, f"peak memory {peak >> 20} MiB")
        samara.stop()
    return run


def expect_departures(samara, bad, reasons):
    """At least one of them was dropped for what it did."""
    addresses = set().union(*(b.addresses for b in bad))
    try:
        wait_until(lambda: reasons & set(departures(samara, addresses)), 45, "dropped")
    except Exception:
        seen = sorted(set(departures(samara, addresses)))
        check(False, f"dropped for {seen}, not for one of {sorted(reasons)}")


def never_reads(samples):
    """A leech that asks for everything and reads nothing costs a seed little, and the next leech is served."""
    def ask_all(w):
        w.handshake()
        w.send(message(INTERESTED))
        while w.read()[0] != UNCHOKE:
            pass
        pieces = range(w.pieces)
        w.send(*(message(REQUEST, struct.pack(">III", p, o, BLOCK)) for p in pieces for o in range(0, PIECE, BLOCK)))
        time.sleep(60)

    def run(lab):
        sample = samples.get("single", "v1")

        def act(w):
            w.pieces = sample.pieces - 1
            ask_all(w)
        seed = Samara(lab, "seed")
        seed.share(sample.torrent, sample.copy_data(lab.dir("source")))
        bad = [Hostile(sample, act) for _ in range(DEAF_PEERS)]
        for b in bad:
            lab.at_end(b.close)
            b.dial(seed.port)
        leech = Samara(lab, "leech")
        leech.fetch(sample.torrent, lab.dir("target"), [seed])
        leech.wait(40)
        same(lab.root / "source" / sample.name, lab.root / "target" / sample.name)
        peak = seed.peak_rss()
        check(peak < MAX_RSS, f"peak memory {peak >> 20} MiB")
        seed.stop()
    return run


def register(samples):
    for act, reasons, fmt, magnet in CASES_OF:
        name = act.__name__.replace("_", "-")
        CASES.add(f"hostile/{name}/{fmt}", hostile(samples, act, reasons, fmt, magnet), 45 if act in SLOW else 8)
    CASES.add("hostile/never-reads/v1", never_reads(samples), 10)


def against_libtorrent(samples, act, fmt, magnet):
    """The behaviour itself, tried on a client that is known to bear it."""
    def run(lab):
        sample = samples.get("single", fmt)
        good, bad = good_and_bad(lab, sample, act)
        good.share(sample.torrent, lab.dir("source"))
        leech = Libtorrent(lab, "leech")
        leech.start()
        leech.fetch(sample.magnet() if magnet else sample.torrent, lab.dir("target"), [*bad, good])
        bad[0].dial(leech.port)
        leech.wait(60)
        same(lab.root / "source" / sample.name, lab.root / "target" / sample.name)
        tried = [b for b in bad if b.open]
        check(tried, "no bad peer got a connection")
    return run


def register_self_check(samples):
    for act, _, fmt, magnet in CASES_OF:
        if act in TOO_MUCH_FOR_LIBTORRENT:
            continue
        name = act.__name__.replace("_", "-")
        CASES.add(f"hostile/{name}/{fmt}", against_libtorrent(samples, act, fmt, magnet), 8)
