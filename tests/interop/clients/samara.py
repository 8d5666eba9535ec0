"""The program under test: one process for each transfer, spoken to through the command line and its JSON events."""
import json
import os
import signal

from clients.base import Client
from harness.lab import Failure, check, wait_until



def binary():
    return os.environ["SAMARA"]


class Samara(Client):
    name = "samara"

    def __init__(self, lab, label):
        super().__init__(lab, label)
        self.runs = 0
        self.proc = None
        self.listen = ""

    def share(self, torrent, folder, peers=()):
        self.begin("seed", torrent, folder, *self.net(peers))
        self.wait_event("seeding", 20)

    def fetch(self, source, folder, peers=(), extra=()):
        """`extra` are further switches of `get`."""
        self.begin("get", source, "-o", folder, *extra, *self.net(peers))
        self.wait_event("listening", 10)

    def net(self, peers):
        state = self.lab.dir(f"{self.label}.state")
        argv = ["--listen", self.listen or f"{self.host}:0", "--state-dir", state, "--no-port-map", *self.found_by()]
        for peer in peers:
            argv += ["--peer", peer.address()]
        return argv

    def found_by(self):
        ways = self.ways
        argv = ["--dht-bootstrap", ways.dht[0]] if ways.dht else ["--no-dht"]
        on = {"--no-lsd": ways.lsd, "--no-pex": ways.pex, "--no-trackers": self.ask_trackers}
        return argv + [switch for switch, wanted in on.items() if not wanted]

    def begin(self, *argv):
        self.runs += 1
        self.out = self.lab.root / f"{self.label}.{self.runs}.events"
        with open(self.out, "wb") as out:
            self.proc = self.spawn([binary(), "--json", *argv], stdout=out)

    def events(self, kind=None):
        """The events so far; a line that is still being written is left for later."""
        text = self.out.read_bytes()
        lines = text[:text.rfind(b"\n") + 1].splitlines()
        events = [json.loads(ln) for ln in lines]
        for e in events:
            check(isinstance(e, dict) and "event" in e, f"not an event: {e}")
        return [e for e in events if kind in (None, e["event"])]

    def wait_event(self, kind, limit, where=lambda e: True):
        def probe():
            ended = self.proc.poll()
            found = next((e for e in self.events(kind) if where(e)), None)
            self.learn_port()
            if not found and ended is not None:
                raise Failure(f"samara exited with {ended} before `{kind}`: {self.last_error()}")
            return found
        return wait_until(probe, limit, f"samara says `{kind}`")

    def learn_port(self):
        heard = self.events("listening")
        if heard:
            self.port = int(heard[0]["addr"].rsplit(":", 1)[1])

    def last_error(self):
        errors = self.events("error")
        return errors[-1]["message"] if errors else (self.lab.root / f"{self.label}.log").read_text()[-300:]

    def complete(self):
        self.learn_port()
        code = self.proc.poll()
        check(code in (None, 0), f"samara exited with {code}: {self.last_error()}")
        return bool(self.events("complete"))

    def exit_code(self, limit=20):
        wait_until(lambda: self.proc.poll() is not None, limit, "samara ends by itself")
        return self.proc.returncode

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
            code = self.exit_code(10)
            check(code in (0, 130), f"samara exited with {code} when interrupted")

    def peak_rss(self):
        """Peak resident memory in bytes of the running process."""
        with open(f"/proc/{self.proc.pid}/status") as f:
            return next(int(ln.split()[1]) * 1024 for ln in f if ln.startswith("VmHWM"))
