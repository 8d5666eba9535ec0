"""Our tracker, as a process of its own."""
import json

from clients.samara import binary
from harness.lab import HOST, Failure, wait_until


class Hub:
    name = "hub"
    schemes = ("http", "udp")

    def __init__(self, lab, hashes=(), label="hub"):
        self.lab, self.label = lab, label

    def start(self, *options):
        self.out = self.lab.root / f"{self.label}.events"
        argv = [binary(), "--json", "hub", "--http", f"{HOST}:0", "--udp", f"{HOST}:0", *options]
        with open(self.out, "wb") as out:
            self.proc = self.lab.spawn(self.label, argv, stdout=out)
        self.address, self.udp = wait_until(self.heard, 20, "the hub listens")
        return self

    def heard(self):
        if self.proc.poll() is not None:
            raise Failure(f"the hub exited with {self.proc.returncode}")
        text = self.out.read_text()
        events = [json.loads(ln) for ln in text[:text.rfind("\n") + 1].splitlines()]
        addresses = {e["transports"][0]: e["addr"] for e in events if e["event"] == "listening"}
        return (addresses["http"], addresses["udp"]) if {"http", "udp"} <= addresses.keys() else None

    def url(self, scheme="http", path="/announce"):
        return f"{scheme}://{self.udp if scheme == 'udp' else self.address}{path}"
