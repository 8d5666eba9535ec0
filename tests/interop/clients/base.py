"""What every client under test can do."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from harness.lab import HOST, wait_until


@dataclass(frozen=True)
class Ways:
    """How a client finds peers whom nobody told it of; `dht` holds addresses of nodes, the first to begin with."""
    dht: tuple = ()
    lsd: bool = False
    pex: bool = False


class Client(ABC):
    """One running client.

    `share` and `fetch` return once the client is at work and `port` is known; `wait` returns once what was asked for is
    whole and verified. `dials` says whether it can be told addresses of peers; a client that cannot is dialled by
    the other side. A source is a path of a torrent or the text of a magnet link.
    """
    name = "?"
    formats = ("v1", "v2", "hybrid")
    dials = True
    magnets = True
    pace = 3  # seconds a small transfer takes with it
    keeps_empty = True  # whether it makes empty files
    ask_trackers = False  # whether it asks the trackers of the torrent
    ways = Ways()
    machine = None  # where it runs, if the case made a network

    def __init__(self, lab, label):
        self.lab, self.label = lab, label
        self.port = None

    def start(self):
        """Start the process, if there is one to start before a torrent is given."""

    @abstractmethod
    def share(self, torrent: Path, folder: Path, peers=()):
        """Seed what lies in `folder`; returns when it is checked."""

    @abstractmethod
    def fetch(self, source, folder: Path, peers=()):
        """Begin to download into `folder`."""

    @abstractmethod
    def complete(self):
        """Whether the download is whole and verified; raises if the client gave up."""

    def wait(self, limit=40):
        wait_until(self.complete, limit, f"{self.name} completes")

    def stop(self):
        """End the process in an orderly way, so that everything is in its file."""

    @property
    def host(self):
        return self.machine.ip4 if self.machine else HOST

    def address(self):
        return f"{self.host}:{self.port}"

    def spawn(self, argv, **kw):
        return self.lab.spawn(self.label, argv, machine=self.machine, **kw)
