"""Crowds in which nobody is named: a tracker brings them together. And trackers' answers, as we and libtorrent read them."""
import json
import urllib.parse
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import libtorrent as lt

from clients import rpc
from clients.aria2 import Aria2
from clients.hub import Hub
from clients.libtorrent import Libtorrent
from clients.samara import Samara, binary
from clients.trackers import NpmTracker, Opentracker
from clients.transmission import Transmission
from harness.data import Samples, same
from harness.lab import HOST, check, equal, wait_until
from harness.registry import CASES

TRACKERS = (Opentracker, NpmTracker, Hub)
CROWD = (Samara, Transmission, Libtorrent, Aria2)


def named_by(lab, sample, url):
    """The sample with a tracker in it."""
    entry = lt.bdecode(sample.torrent.read_bytes())
    entry[b"announce"] = url.encode()
    out = lab.root / f"{sample.name}.torrent"
    out.write_bytes(lt.bencode(entry))
    return replace(sample, torrent=out)


def v1_hash(sample):
    return str(sample.info().info_hashes().v1)


def ask(lab, sample, *options, ok=(0,)):
    """What our `announce` says of the sample's one tracker, over IPv4."""
    said = json.loads(lab.output([binary(), "announce", sample.torrent, "--json", *options], ok))
    return next(answer for answer in said["answers"] if answer["family"] == "ipv4")


def crowd(lab, sample, tracker, scheme, seed):
    """One seed and three leeches, one of each client; each has the torrent, and nothing else."""
    tracker = tracker(lab, [v1_hash(sample)]).start()
    sample = named_by(lab, sample, tracker.url(scheme))
    source = sample.copy_data(lab.dir("source"))
    members = [client(lab, client.name) for client in (seed, *(c for c in CROWD if c is not seed))]
    for member in members:
        member.ask_trackers = True
        member.start()
    first, *leeches = members
    first.share(sample.torrent, source)

    def seeds():
        return ask(lab, sample, "--scrape", ok=(0, 1)).get("torrents", [{"seeds": 0}])[:1]
    wait_until(lambda: any(swarm["seeds"] for swarm in seeds()), 30, f"{tracker.name} knows the seed", poll=0.3)
    for leech in leeches:
        extra = {"extra": ["--seed"]} if isinstance(leech, Samara) else {}
        leech.fetch(sample.torrent, lab.dir(leech.name), **extra)
    for leech in leeches:
        leech.wait(90)
    for member in members:
        member.stop()
    for leech in leeches:
        same(source / sample.name, lab.dir(leech.name) / sample.name)


def plant(tracker, sample, port, left):
    """Announces a peer that is nobody, over HTTP."""
    binary_hash = bytes.fromhex(v1_hash(sample))
    peer_id = f"-XX0000-{port:012}".encode()
    query = urllib.parse.urlencode({"info_hash": binary_hash, "peer_id": peer_id, "port": port, "uploaded": 0, "downloaded": 0,
                                    "left": left, "event": "started", "compact": 1}, quote_via=urllib.parse.quote)
    _, body = rpc.request(f"{tracker.url('http')}?{query}")
    check(b"failure" not in body, f"{tracker.name} refuses a peer: {body!r}")


def agree(lab, sample, tracker, scheme):
    """Numbers of a swarm, as we and libtorrent hear them."""
    tracker = tracker(lab, [v1_hash(sample)]).start()
    sample = named_by(lab, sample, tracker.url(scheme))
    wait_until(lambda: up(tracker), 20, f"{tracker.name} answers")
    for n in range(3):
        plant(tracker, sample, 5001 + n, 0)
    for n in range(2):
        plant(tracker, sample, 5101 + n, 9)
    ours = ask(lab, sample, "--scrape")["torrents"]
    equal("swarms", len(ours), 1)
    peers = {peer for peer in ask(lab, sample)["peers"]}
    equal("peers", peers, {f"{HOST}:{port}" for port in (5001, 5002, 5003, 5101, 5102)})
    # Else it would refuse to scrape on loopback.
    theirs = Libtorrent(lab, "libtorrent", settings={"ssrf_mitigation": False})
    theirs.ask_trackers = True
    theirs.start()
    theirs.fetch(sample.torrent, lab.dir("target"))
    reply = wait_until(lambda: theirs.said("reply"), 30, "libtorrent hears the tracker")[0]
    check(reply["peers"] in (5, 6), f"libtorrent got {reply['peers']} peers")  # perhaps itself
    if tracker.name == "npm" and scheme == "http":
        return theirs.stop()  # it garbles the hash, and libtorrent finds nothing
    theirs.tell(scrape=True)
    scraped = wait_until(lambda: theirs.said("scrape"), 30, "libtorrent hears the scrape")[-1]
    # By now it is a leech itself.
    equal("seeds", ours[0]["seeds"], scraped["seeds"])
    equal("leeches", ours[0]["leeches"], scraped["leeches"] - 1)
    theirs.stop()


def up(tracker):
    try:
        rpc.request(tracker.url("http").replace("/announce", "/scrape?info_hash=" + "a" * 20))
        return True
    except OSError:
        return False
    except Exception:  # it answers, with an error
        return True


class Spoken:
    """A tracker of ours that answers every announce with the same words."""

    def __init__(self, lab, answer):
        body = lt.bencode(answer)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        lab.at_end(self.server.shutdown)

    def url(self):
        return f"http://{HOST}:{self.server.server_port}/announce"


def refusal(lab, sample):
    """A failure reason reaches the user in the tracker's words; everybody goes on."""
    sample = named_by(lab, sample, Spoken(lab, {b"failure reason": b"torrent not registered"}).url())
    equal("announce", ask(lab, sample, ok=(1,))["error"], "torrent not registered")
    ours, theirs, aria2 = Samara(lab, "samara"), Libtorrent(lab, "libtorrent"), Aria2(lab, "aria2")
    for client in (ours, theirs, aria2):
        client.ask_trackers = True
        client.start()
        client.fetch(sample.torrent, lab.dir(client.name))
    heard = ours.wait_event("tracker", 20)
    equal("event", (heard["state"], heard["message"]), ("failed", "torrent not registered"))
    words = wait_until(lambda: theirs.said("error"), 20, "libtorrent hears the refusal")[0]
    equal("words", heard["message"], words["message"])
    check(not aria2.complete() and not ours.complete(), "somebody completed")
    for client in (ours, theirs, aria2):
        client.stop()


def warning(lab, sample):
    answer = {b"interval": 1800, b"min interval": 900, b"complete": 1, b"incomplete": 2, b"warning message": b"closing soon",
              b"peers": b"", b"external ip": bytes([203, 0, 113, 9])}
    sample = named_by(lab, sample, Spoken(lab, answer).url())
    said = ask(lab, sample)
    equal("intervals", (said["interval"], said["min_interval"]), (1800, 900))
    equal("address", said["external_ip"], "203.0.113.9")
    ours, theirs = Samara(lab, "samara"), Libtorrent(lab, "libtorrent")
    for client in (ours, theirs):
        client.ask_trackers = True
        client.start()
        client.fetch(sample.torrent, lab.dir(client.name))
    heard = ours.wait_event("tracker", 20)
    equal("event", (heard["state"], heard["seeds"], heard["leeches"]), ("working", 1, 2))
    words = wait_until(lambda: theirs.said("warning"), 20, "libtorrent hears the warning")[0]
    check(heard["message"] in words["message"], f"ours {heard['message']!r}, theirs {words['message']!r}")
    for client in (ours, theirs):
        client.stop()


def ipv6(lab, sample, scheme):
    """Over IPv6 as over IPv4: libtorrent and ours are told of each other."""
    tracker = NpmTracker(lab, []).start("::1")
    sample = named_by(lab, sample, tracker.url(scheme))
    theirs = Libtorrent(lab, "libtorrent", settings={"listen_interfaces": "[::1]:0"})
    theirs.ask_trackers = True
    theirs.start()
    theirs.share(sample.torrent, sample.copy_data(lab.dir("source")))
    wait_until(lambda: theirs.said("reply"), 30, "libtorrent hears the tracker")
    said = json.loads(lab.output([binary(), "announce", sample.torrent, "--json"]))
    answer = next(answer for answer in said["answers"] if answer["family"] == "ipv6")
    # Over UDP it gives peers of IPv4 only, to everybody.
    equal("peers", answer["peers"], [f"[::1]:{theirs.port}"] if scheme == "http" else [])
    equal("counts", (answer["seeds"], answer["leeches"]), (1, 1))
    theirs.stop()


def register(samples: Samples):
    sample = samples.get("single", "v1")
    for tracker in TRACKERS:
        for scheme in tracker.schemes:
            for seed in (Samara, Transmission):
                CASES.add(f"trackers/{tracker.name}/{scheme}/{seed.name}-seeds",
                          lambda lab, t=tracker, s=scheme, c=seed: crowd(lab, sample, t, s, c), 20)
            CASES.add(f"trackers/{tracker.name}/{scheme}/numbers",
                      lambda lab, t=tracker, s=scheme: agree(lab, sample, t, s), 3)
    for scheme in NpmTracker.schemes:
        CASES.add(f"trackers/npm/{scheme}/ipv6", lambda lab, s=scheme: ipv6(lab, sample, s), 3)
    CASES.add("trackers/words/refusal", lambda lab: refusal(lab, sample), 3)
    CASES.add("trackers/words/warning", lambda lab: warning(lab, sample), 3)
