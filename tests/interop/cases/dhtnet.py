"""Closed DHTs on this machine, half ours and half libtorrent's, that begin with one hub.

All nodes have addresses of their own, in a network namespace. What either announces or stores the other finds, also after the hub is gone.
"""
import json

from clients.base import Ways
from clients.dhtnodes import LibtorrentNodes, hub, known, node
from clients.samara import Samara, binary
from harness.data import Samples
from harness.lab import check, equal, wait_until
from harness.net import Network, ip
from harness.registry import CASES

PORT = 6881
SECONDS = 10  # in which everybody is found
# The key of BEP 44's test vectors.
SECRET = ("e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d"
          "b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d")
PUBLIC = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"


class Dht:
    """A hub, nodes of ours and as many of libtorrent's, who know nothing but the hub."""

    def __init__(self, lab, family, size):
        Network(lab)
        self.lab, self.family, self.used, self.asked = lab, family, 0, 0
        first = self.address()
        self.hub = hub(lab, first)
        self.ours = [self.address() for _ in range(size // 2)]
        self.nodes = [node(lab, f"node{n}", address, first) for n, address in enumerate(self.ours)]
        for one in self.nodes:
            one.wait_listening()
        some = min(8, size // 2)
        wait_until(lambda: all(known(address) >= some for address in (first, *self.ours)), 60, f"each of ours knows {some}", 0.5)
        self.theirs = LibtorrentNodes(lab, [self.address() for _ in range(size // 2)], bootstrap=first)
        self.theirs.wait_for(some, 60)

    def address(self, port=PORT):
        """One that nobody has."""
        self.used += 1
        if self.family == "ipv4":
            return f"127.{self.used}.0.1:{port}"
        own = f"fd09:0:0:{self.used:x}::1"
        ip("addr", "add", f"{own}/128", "dev", "lo", "nodad")
        return f"[{own}]:{port}"

    def say(self, command, *args, begin=None, ok=(0,)):
        """What our `dht` prints as JSON, asked from an address of its own."""
        self.asked += 1
        state = self.lab.dir(f"asker{self.asked}.state")
        argv = [binary(), "dht", command, *args, "--json", "--listen", self.address(0), "--state-dir", state,
                "--dht-bootstrap", begin or self.ours[0]]
        return [json.loads(line) for line in self.lab.output(argv, ok).splitlines()]

    def peers(self, info_hash, begin=None):
        found = self.say("peers", info_hash, begin=begin, ok=(0, 1))
        return {e["addr"] for e in found if e["event"] == "peer"}

    def find_theirs(self, info_hash, address, begin, limit=SECONDS):
        wait_until(lambda: address in self.peers(info_hash, begin), limit, f"ours finds {address}", 0.2)

    def find_ours(self, info_hash, address, asker):
        found = wait_until(lambda: self.theirs.ask("peers", node=asker, hash=info_hash, seconds=2), SECONDS,
                           f"libtorrent finds {address}")
        check(address in found, f"libtorrent found {found}, not {address}")


def hashes(count, seed):
    return [f"{seed:02x}{n:038x}" for n in range(count)]


def seed(dht, sample, label, begin):
    """A seed of ours; the address that it should be found at."""
    client = Samara(dht.lab, label)
    client.ways, client.listen = Ways(dht=(begin,)), dht.address(0)
    client.share(sample.torrent, sample.copy_data(dht.lab.dir(f"{label}.data")))
    return f"{client.listen.rsplit(':', 1)[0]}:{client.port}"


def network(lab, samples, family, size):
    dht = Dht(lab, family, size)
    begin = dht.hub.events("listening")[0]["addr"]
    early, late = samples.get("single", "v1"), samples.get("tree", "v1")
    theirs, half = hashes(2, size), size // 2
    where = seed(dht, early, "early", begin)
    dht.theirs.ask("announce", node=0, hash=theirs[0], port=4001)
    for asker in (1, half - 1):
        dht.find_ours(str(early.info().info_hashes().v1), where, asker)
    dht.find_theirs(theirs[0], told(dht.theirs.addresses[0], 4001), begin)
    dht.hub.kill()
    also = seed(dht, late, "late", dht.ours[1])
    dht.theirs.ask("announce", node=1, hash=theirs[1], port=4002)
    for asker in (0, half - 1):
        dht.find_ours(str(early.info().info_hashes().v1), where, asker)
        dht.find_ours(str(late.info().info_hashes().v1), also, asker)
    # libtorrent waits for the hub, which it does not know to be dead, before it announces.
    dht.find_theirs(theirs[1], told(dht.theirs.addresses[1], 4002), dht.ours[0], limit=30)
    for begin in (dht.ours[-1], dht.theirs.addresses[-1]):
        dht.find_theirs(theirs[0], told(dht.theirs.addresses[0], 4001), begin)
        dht.find_theirs(theirs[1], told(dht.theirs.addresses[1], 4002), begin)


def told(address, port):
    return f"{address.rsplit(':', 1)[0]}:{port}"


def items(lab, family):
    """What either stores, the other reads: values that never change, and values of a key, which do (BEP 44)."""
    dht = Dht(lab, family, 10)
    target = dht.theirs.ask("put", node=0, value="from libtorrent")
    equal("value", item(dht.say("get", target))["value"], "from libtorrent")
    for number, value in enumerate(("first", "second"), 1):
        check(dht.theirs.ask("put_signed", node=2, value=value, salt="salty", secret=SECRET, public=PUBLIC), "nobody took it")
        got = item(dht.say("get", PUBLIC, "--salt", "salty"))
        equal("signed", (got["value"], got["seq"], got["key"]), (value, number, PUBLIC))
    put = item(dht.say("put", "from ours"))
    equal("value", "from ours", dht.theirs.ask("get", node=1, target=put["target"]))
    for number, value in enumerate(("third", "fourth"), 1):
        put = item(dht.say("put", value, "--key", lab.root / "key", "--salt", "ours"))
        equal("number", put["seq"], number)
        equal("signed", value, dht.theirs.ask("get_signed", node=3, public=put["key"], salt="ours", number=number))


def item(events):
    return next(e for e in events if e["event"] == "item")


def register(samples: Samples):
    for family in ("ipv4", "ipv6"):
        for size in (10, 50):
            CASES.add(f"dht/network/{family}/{size}", lambda lab, f=family, n=size: network(lab, samples, f, n), size)
        CASES.add(f"dht/items/{family}", lambda lab, f=family: items(lab, f), 10)
