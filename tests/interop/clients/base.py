"""What every client under test can do."""
from abc import ABC, abstractmethod
from pathlib import Path

from harness.lab import HOST, wait_until


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

    def address(self):
        return f"{HOST}:{self.port}"
