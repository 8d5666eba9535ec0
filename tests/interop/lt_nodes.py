#!/usr/bin/env python3
"""Nodes of libtorrent's DHT, a session each, that do what stdin says: one JSON object a line, one line of answer to each.

  lt_nodes.py SETTINGS HOST:PORT..     a JSON object; where each node listens
  {"do": "know", "nodes": ["HOST:PORT", ..]}                  each node pings these
  {"do": "count"}                                             how many nodes each knows
  {"do": "announce", "node": N, "hash": hex, "port": P}
  {"do": "peers", "node": N, "hash": hex, "seconds": S}       the peers found until there are some, or time is up
  {"do": "put", "node": N, "value": text}                     an immutable item; its target
  {"do": "get", "node": N, "target": hex}
  {"do": "put_signed", "node": N, "value": text, "salt": text, "secret": hex, "public": hex}    how many took it
  {"do": "get_signed", "node": N, "public": hex, "salt": text, "number": N}    the value, once there is this version of it
"""
import json
import sys
import time

import libtorrent as lt

EVERYTHING = {
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False, "alert_mask": lt.alert_category.dht | lt.alert_category.dht_operation,
}


SECONDS = 10


def split(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def sha1(text):
    return lt.sha1_hash(bytes.fromhex(text))


class Nodes:
    def __init__(self, settings, addresses):
        self.sessions = [lt.session({**EVERYTHING, **settings, "listen_interfaces": a}) for a in addresses]

    def heard(self, node, kind, wanted, seconds=SECONDS):
        """What `wanted` made of the first alert of a kind of which it made something; None when time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for alert in self.sessions[node].pop_alerts():
                got = wanted(alert) if isinstance(alert, kind) else None
                if got:
                    return got
            time.sleep(0.02)
        return None

    def know(self, nodes):
        for session in self.sessions:
            for node in nodes:
                session.add_dht_node(split(node))

    def count(self):
        counts = []
        for n, session in enumerate(self.sessions):
            session.post_dht_stats()
            tables = self.heard(n, lt.dht_stats_alert, lambda a: [list(a.routing_table)], 5) or [[]]
            counts.append(sum(bucket["num_nodes"] for bucket in tables[0]))
        return counts

    def announce(self, node, hash, port):
        self.sessions[node].dht_announce(sha1(hash), port)

    def peers(self, node, hash, seconds):
        self.sessions[node].dht_get_peers(sha1(hash))
        found = self.heard(node, lt.dht_get_peers_reply_alert, lambda a: str(a.info_hash) == hash and a.peers(), seconds)
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in found or []]


    def put(self, node, value):
        target = str(self.sessions[node].dht_put_immutable_item(value.encode()))
        self.heard(node, lt.dht_put_alert, lambda a: str(a.target) == target)
        return target

    def get(self, node, target):
        self.sessions[node].dht_get_immutable_item(sha1(target))
        item = self.heard(node, lt.dht_immutable_item_alert, lambda a: str(a.target) == target and a.item)
        return item and item.decode()

    def put_signed(self, node, value, salt, secret, public):
        self.sessions[node].dht_put_mutable_item(bytes.fromhex(secret), bytes.fromhex(public), value.encode(), salt.encode())
        return self.heard(node, lt.dht_put_alert, lambda a: a.num_success)

    def get_signed(self, node, public, salt, number):
        """Not the newest of a whole lookup: libtorrent counts who stores something among the nodes, though he says that
        he is none (BEP 43), and once he is gone it waits for him.
        """
        self.sessions[node].dht_get_mutable_item(bytes.fromhex(public), salt.encode())
        item = self.heard(node, lt.dht_mutable_item_alert, lambda a: a.seq == number and a.item)
        return item and item.decode()


def main():
    nodes = Nodes(json.loads(sys.argv[1]), sys.argv[2:])
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(nodes, command.pop("do"))(**command)), flush=True)


if __name__ == "__main__":
    main()
