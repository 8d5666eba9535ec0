"""The corpus of torrents: every shape that a torrent can have, made by libtorrent in all three formats."""
import os
import warnings
from dataclasses import dataclass, field
from typing import Callable

import libtorrent as lt

from harness.data import BLOCK, FLAGS, FORMATS, KIB, fill

# The binding deprecates `torrent_info` as the place of trackers and such; its successor has no file list in Python.
warnings.filterwarnings("ignore", category=DeprecationWarning)


@dataclass
class Shape:
    """`files` is name → size; a single file if there is one name without a folder and `folder` is false."""
    name: str
    files: dict
    piece: int = 16 * KIB
    folder: bool = True
    edit: Callable = lambda torrent: None       # before hashing: trackers and such
    patch: Callable = lambda entry: None        # afterwards, on the decoded dictionary
    executable: tuple = ()
    links: dict = field(default_factory=dict)   # name → target, relative to the link
    formats: tuple = FORMATS                    # that libtorrent can make and read
    create: tuple = FORMATS                     # that `create` is tried with


def single(name, size, **kw):
    return Shape(name, {f"{name}.bin": size}, folder=False, **kw)


def tiers(*groups):
    def edit(torrent):
        for tier, urls in enumerate(groups):
            for url in urls:
                torrent.add_tracker(url, tier)
    return edit


def call(method, *arguments):
    return lambda torrent: [getattr(torrent, method)(*a) for a in arguments] and None


def set_attr(attr, length):
    """Give the files of that length the attributes (BEP 47), in both halves."""
    def patch(entry):
        info = entry[b"info"]
        for f in info.get(b"files", []):
            if f[b"length"] == length:
                f[b"attr"] = attr
        walk = [info.get(b"file tree", {})]
        while walk:
            for name, node in walk.pop().items():
                if name == b"" and node.get(b"length") == length:
                    node[b"attr"] = attr
                elif name != b"":
                    walk.append(node)
    return patch


def set_key(*path_and_value):
    *path, value = path_and_value

    def patch(entry):
        for key in path[:-1]:
            entry = entry[key]
        entry[path[-1]] = value
    return patch


def drop_key(key):
    return lambda entry: entry.pop(key, None)


TWO = {"a": 40_000, "b": 30_001}

SHAPES = [
    single("one-byte", 1),
    single("block-minus", BLOCK - 1),
    single("block", BLOCK),
    single("block-plus", BLOCK + 1),
    single("two-pieces-minus", 64 * KIB - 1, piece=32 * KIB),
    single("two-pieces", 64 * KIB, piece=32 * KIB),
    single("two-pieces-plus", 64 * KIB + 1, piece=32 * KIB),
    single("one-huge-piece", 100_000, piece=16 * 1024 * KIB),
    single("many-pieces", 1_300_000),
    single("ünïcode 文件 🍁", 20_000),
    Shape("two", TWO),
    # A v2 file tree with one file at its top is a single-file torrent (BEP 52), whatever folder it was made of; libtorrent then
    # shows the file's name as that of the torrent, and we the torrent's.
    Shape("folder-of-one", {"alone": 50_000}, formats=("v1", "hybrid"), create=("v1", "hybrid")),
    Shape("aligned", {"a": 32 * KIB, "b": 16 * KIB, "c": 48 * KIB}),
    Shape("big-pieces", {"a": 5, "b": 200_000, "c": 70_000}, piece=128 * KIB),
    Shape("deep", {"x/y/z/deep": 20_000, "x/y/flat": 3, "x/a": 1, "top": 9}),
    Shape("same-names", {"a/a": 1_000, "b/a": 2_000, "a/b/a": 3_000}),
    Shape("unicode", {"日本/語.txt": 17_000, "é/ß": 5, "emoji 🍁/x": 40_000, "Ωmega": 2}),
    Shape("empty-files", {"none": 0, "some": 100, "z/none": 0, "z/more": 17_000}),
    Shape("many-files", {f"d{n % 7}/f{n:03}": 37 * n + 1 for n in range(120)}),
    # Sorted by whole paths (as libtorrent sorts) `d-b/c` comes before `d/c`, sorted name by name (BEP 52) after it:
    # libtorrent refuses the hybrid that it makes of this itself.
    Shape("order", {"B": 1, "a": 2, "A b": 3, "d.b": 4, "d-b/c": 5, "d/c": 6}, formats=("v1", "v2")),
    Shape("executable", {"run": 20_000, "data": 30_000}, executable=("run",)),
    Shape("links", {"real": 20_000, "sub/other": 1_000}, links={"to-real": "real", "sub/up": "../real"}),
    Shape("hidden", {"seen": 100, "unseen": 18_000}, patch=set_attr(b"h", 18_000)),
    Shape("hidden-executable", {"seen": 100, "unseen": 18_000}, patch=set_attr(b"hx", 18_000)),
    Shape("private", TWO, edit=call("set_priv", (True,))),
    Shape("comment", TWO, edit=call("set_comment", ("Grüße 🍁",))),
    Shape("creator", TWO, edit=call("set_creator", ("someone/1.0",))),
    Shape("one-tracker", TWO, edit=tiers(["http://t.example/announce"])),
    Shape("tiers", TWO, edit=tiers(["udp://a.example:1/announce", "http://b.example/announce"],
                                   ["https://c.example/announce?key=1"], ["wss://d.example/"])),
    Shape("web-seeds", TWO, edit=call("add_url_seed", ("http://w.example/",), ("https://v.example/x/",))),
    Shape("nodes", TWO, edit=call("add_node", ("router.example", 6881), ("192.0.2.1", 1))),
    Shape("source", TWO, patch=set_key(b"info", b"source", b"SRC")),
    Shape("no-date", TWO, patch=drop_key(b"creation date")),
    Shape("unknown-keys", TWO, patch=set_key(b"zz-unknown", {b"a": [1, b"x"]})),
    Shape("unknown-info-key", TWO, patch=set_key(b"info", b"zz-unknown", [1, {b"k": b"v"}])),
    single("single-url-list", 20_000, patch=set_key(b"url-list", b"http://w.example/file")),
    single("old-date", 20_000, patch=set_key(b"creation date", 1)),
]


def write_data(shape, root):
    """Lay the files out below `root`; the path to make a torrent of."""
    base = root / shape.name if shape.folder else root
    for n, (name, size) in enumerate(shape.files.items()):
        fill(base / name, size, n)
    for name in shape.executable:
        (base / name).chmod(0o755)
    for name, target in shape.links.items():
        (base / name).symlink_to(target)
    return base if shape.folder else base / next(iter(shape.files))


def build(shape, fmt, root):
    """The torrent's bytes and the path of its data."""
    source = write_data(shape, root)
    flags = lt.create_torrent.symlinks if shape.links else 0
    torrent = lt.create_torrent(lt.list_files(str(source), lambda _: True, flags), shape.piece, FLAGS[fmt] | flags)
    torrent.set_creation_date(1_700_000_000)
    shape.edit(torrent)
    lt.set_piece_hashes(torrent, os.path.dirname(source))
    entry = torrent.generate()
    shape.patch(entry)
    return lt.bencode(entry), source


# How libtorrent numbers the attributes of a file (BEP 47).
ATTRIBUTES = ((1, "p"), (2, "h"), (4, "x"), (8, "l"))


def hashes(info):
    """Of a torrent, as `show` names them."""
    return named(info.info_hashes())


def named(both):
    return {**({"info_hash_v1": str(both.v1)} if both.has_v1() else {}),
            **({"info_hash_v2": str(both.v2)} if both.has_v2() else {})}


def file_list(info):
    """(path below the torrent's name, size, attributes, pieces root) in the torrent's order."""
    storage = info.files()
    both = info.info_hashes()
    prefix = info.name() + "/"
    found = []
    for n in range(storage.num_files()):
        flags = int(storage.file_flags(n))
        if flags & 1 and not both.has_v1():
            continue  # libtorrent's own filler: the gaps of a v2 torrent are not in its file tree
        root = str(storage.root(n)) if both.has_v2() and storage.file_size(n) and not flags & 1 else None
        attr = "".join(letter for bit, letter in ATTRIBUTES if flags & bit)
        found.append((storage.file_path(n).removeprefix(prefix), storage.file_size(n), attr, root))
    return found
