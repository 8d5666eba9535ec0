"""Sample data, torrents of it made by libtorrent, and the comparison byte by byte."""
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt

from harness.lab import HOST, check

KIB = 1024
BLOCK = 16 * KIB
PIECE = 64 * KIB
FORMATS = ("v1", "v2", "hybrid")
FLAGS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}

# Every size at which block, piece or padding arithmetic turns over.
TREE = {
    "empty": 0,
    "one byte": 1,
    "blocks/minus": BLOCK - 1,
    "blocks/even": BLOCK,
    "blocks/plus": BLOCK + 1,
    "pieces/minus": PIECE - 1,
    "pieces/even": PIECE,
    "pieces/plus": PIECE + 1,
    "pieces/deep/er/still/many.bin": 17 * PIECE + 12_345,
    "naïve café/日本語.txt": 100_003,
    "naïve café/👋 wave.bin": 3 * PIECE - 7,
    "zero/also empty": 0,
}
SINGLE_SIZE = 5_000_011


def fill(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))


def make_torrent(source, out, fmt, piece=PIECE, edit=None, flags=0):
    """A torrent of `source` made by libtorrent; `edit` may change the `create_torrent` first."""
    files = lt.list_files(str(source), lambda _: True, flags)
    torrent = lt.create_torrent(files, piece, FLAGS[fmt] | flags)
    torrent.set_creation_date(1_700_000_000)
    if edit:
        edit(torrent)
    lt.set_piece_hashes(torrent, str(source.parent))
    out.write_bytes(lt.bencode(torrent.generate()))
    return out


@dataclass(frozen=True)
class Sample:
    """One torrent and the folder that holds its data."""
    fmt: str
    shape: str
    name: str
    torrent: Path
    folder: Path
    size: int
    pieces: int

    def info(self):
        return lt.torrent_info(str(self.torrent))

    def magnet(self, peers=()):
        hashes = self.info().info_hashes()
        parts = [f"xt=urn:btih:{hashes.v1}"] if hashes.has_v1() else []
        parts += [f"xt=urn:btmh:1220{hashes.v2}"] if hashes.has_v2() else []
        parts += [f"x.pe={HOST}:{port}" for port in peers]
        return "magnet:?" + "&".join(parts)

    def copy_data(self, to):
        """The data again, in a folder of its own: a client may write beside what it seeds."""
        source, target = self.folder / self.name, to / self.name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copyfile(source, target)
        return to


class Samples:
    """The data of all transfers, generated once."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="interop-data-"))
        fill(self.root / "single.bin", SINGLE_SIZE, 1)
        for n, (name, size) in enumerate(TREE.items()):
            fill(self.root / "tree" / name, size, 100 + n)
        self.made = {(shape, fmt): self.make(shape, fmt) for shape in ("single", "tree") for fmt in FORMATS}

    def get(self, shape, fmt):
        return self.made[shape, fmt]

    def make(self, shape, fmt):
        name = {"single": "single.bin", "tree": "tree"}[shape]
        out = make_torrent(self.root / name, self.root / f"{shape}.{fmt}.torrent", fmt)
        info = lt.torrent_info(str(out))
        size = SINGLE_SIZE if shape == "single" else sum(TREE.values())
        return Sample(fmt, shape, name, out, self.root, size, info.num_pieces())

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)


def listing(root):
    """Relative path → kind and content of everything below `root` that is not a folder."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            key = path.relative_to(root).as_posix()
            found[key] = ("link", os.readlink(path)) if path.is_symlink() else ("file", path.read_bytes())
    return found


def same(expected, actual, with_empty=True):
    """Check that two files or folders hold the same, byte for byte, and nothing more; maybe without empty files."""
    check(actual.exists(), f"{actual.name} did not arrive")
    if expected.is_file():
        check(actual.is_file() and actual.read_bytes() == expected.read_bytes(), f"{actual.name} differs")
        return
    want, got = listing(expected), listing(actual)
    if not with_empty:
        want = {k: v for k, v in want.items() if v != ("file", b"")}
    check(not want.keys() - got.keys(), f"missing: {sorted(want.keys() - got.keys())}")
    check(not got.keys() - want.keys(), f"not asked for: {sorted(got.keys() - want.keys())}")
    differ = sorted(k for k in want if want[k] != got[k])
    check(not differ, f"differ: {differ}")
