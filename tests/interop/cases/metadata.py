"""`show` reads a corpus as libtorrent does; what `create` writes, others read alike."""
import hashlib
import json
import os
import re
import shutil

import libtorrent as lt

from clients.samara import binary
from harness.data import FORMATS, KIB
from harness.lab import Failure, check, equal
from harness.registry import CASES
from harness.shapes import SHAPES, Shape, build, file_list, hashes, named, write_data


def show(lab, torrent):
    return json.loads(lab.output([binary(), "--json", "show", torrent]))


def letters(attr):
    return "".join(sorted(attr or ""))


def our_files(shown):
    return [(f["path"], f["size"], letters(f.get("attr")), f.get("pieces_root")) for f in shown["files"]]


def their_files(info):
    return [(path, size, letters(attr), root) for path, size, attr, root in file_list(info)]


def trackers(info):
    tiers = {}
    for t in info.trackers():
        tiers.setdefault(t.tier, []).append(t.url)
    return [tiers[n] for n in sorted(tiers)]


def format_of(info):
    both = info.info_hashes()
    return "hybrid" if both.has_v1() and both.has_v2() else "v1" if both.has_v1() else "v2"


def compare(shown, info, entry):
    """Field by field; `entry` is the decoded torrent, for what libtorrent's binding does not tell."""
    for key in ("info_hash_v1", "info_hash_v2"):
        equal(key, shown.get(key), hashes(info).get(key))
    equal("format", shown["format"], format_of(info))
    equal("name", shown["name"], info.name())
    equal("size", shown["size"], info.size_on_disk())
    equal("piece_length", shown["piece_length"], info.piece_length())
    equal("pieces", shown["pieces"], info.num_pieces())
    equal("private", shown["private"], info.priv())
    equal("files", our_files(shown), their_files(info))
    equal("trackers", shown["trackers"], trackers(info))
    # libtorrent adds a slash to some of them.
    equal("web_seeds", [url.rstrip("/") for url in shown["web_seeds"]], [w["url"].rstrip("/") for w in info.web_seeds()])
    equal("nodes", shown["nodes"], [f"{host}:{port}" for host, port in info.nodes()])
    equal("comment", shown.get("comment") or "", info.comment())
    equal("created_by", shown.get("created_by") or "", info.creator())
    equal("creation_date", shown.get("creation_date"), entry.get(b"creation date"))
    magnet = lt.parse_magnet_uri(shown["magnet"])
    equal("hashes in the magnet link", named(magnet.info_hashes), hashes(info))


def show_shape(shape):
    def run(lab):
        for fmt in shape.formats:
            data, _ = build(shape, fmt, lab.dir(fmt))
            path = lab.root / f"{fmt}.torrent"
            path.write_bytes(data)
            try:
                compare(show(lab, path), lt.torrent_info(data), lt.bdecode(data))
            except Failure as e:
                raise Failure(f"{fmt}: {e}") from e
    return run


# What `create` is tried on: shapes that are data, not options of libtorrent.
CREATED = [s for s in SHAPES if s.name in (
    "one-byte", "block-minus", "block", "block-plus", "two-pieces-minus", "two-pieces", "two-pieces-plus", "many-pieces",
    "ünïcode 文件 🍁", "two", "folder-of-one", "aligned", "big-pieces", "deep", "same-names", "unicode", "empty-files",
    "many-files", "order", "executable", "links")]


def create(lab, source, fmt, *extra):
    out = lab.root / f"{fmt}.torrent"
    lab.output([binary(), "create", source, "-o", out, "--format", fmt, "--force", *extra])
    return out


def expected_files(shape, source):
    """Path → (size, attributes) that a torrent of this shape must tell."""
    if not shape.folder:
        return {source.name: (source.stat().st_size, "")}
    want = {name: (size, "x" if name in shape.executable else "") for name, size in shape.files.items()}
    return {**want, **{name: (0, "l") for name in shape.links}}


def recheck(lab, torrent, folder):
    """Have libtorrent hash the data against the torrent."""
    session = lt.session({"listen_interfaces": "", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
                          "enable_natpmp": False})
    params = lt.add_torrent_params()
    params.ti, params.save_path = lt.torrent_info(str(torrent)), str(folder)
    params.flags &= ~lt.torrent_flags.paused & ~lt.torrent_flags.auto_managed
    handle = session.add_torrent(params)
    for _ in range(400):
        status = handle.status()
        if status.is_seeding:
            return
        check(not status.errc.value(), f"libtorrent: {status.errc.message()}")
        if status.state == lt.torrent_status.downloading:
            break
        session.wait_for_alert(50)
        session.pop_alerts()
    raise Failure(f"libtorrent finds {status.progress * 100:.1f} % of the data right")


def transmission_hash(lab, torrent):
    text = lab.output(["transmission-show", torrent])
    return re.search(r"Hash: ([0-9a-f]{40})", text)[1]


def aria2_hash(lab, torrent):
    text = lab.output(["aria2c", "--no-conf", "-S", torrent])
    return re.search(r"Info Hash: ([0-9a-f]{40})", text)[1]


def create_shape(shape):
    def run(lab):
        source = write_data(shape, lab.dir("data"))
        for fmt in shape.create:
            try:
                created(lab, shape, source, fmt)
            except Failure as e:
                raise Failure(f"{fmt}: {e}") from e
    return run


def created(lab, shape, source, fmt):
    torrent = create(lab, source, fmt, "--piece-length", f"{shape.piece // KIB}KiB")
    info = lt.torrent_info(str(torrent))
    equal("format", format_of(info), fmt)
    equal("name", info.name(), source.name)
    equal("piece_length", info.piece_length(), shape.piece)
    listed = {p: (size, "".join(c for c in attr if c != "x" or "l" not in attr))
              for p, size, attr, _ in file_list(info) if "p" not in attr}
    equal("files", listed, expected_files(shape, source))
    recheck(lab, torrent, source.parent)
    for key, value in hashes(info).items():
        equal(key, show(lab, torrent)[key], value)
    if fmt == "v1":
        v1 = hashes(info)["info_hash_v1"]
        equal("transmission's info-hash", transmission_hash(lab, torrent), v1)
        equal("aria2's info-hash", aria2_hash(lab, torrent), v1)


OPTIONS = ["--tracker", "http://a.example/announce,udp://b.example:1", "--tracker", "http://c.example/announce",
           "--web-seed", "http://w.example/", "--web-seed", "http://v.example/", "--private", "--comment", "Grüße",
           "--source", "SRC", "--name", "renamed", "--no-date"]


def create_options(lab):
    """Every option of `create` arrives in what libtorrent reads, and the same input gives the same bytes."""
    source = write_data(Shape("options", {"a": 20_000, "b/c": 5}), lab.dir("data"))
    for fmt in FORMATS:
        torrent = create(lab, source, fmt, *OPTIONS)
        info, entry = lt.torrent_info(str(torrent)), lt.bdecode(torrent.read_bytes())
        equal("trackers", trackers(info), [["http://a.example/announce", "udp://b.example:1"],
                                           ["http://c.example/announce"]])
        equal("web_seeds", sorted(w["url"] for w in info.web_seeds()), ["http://v.example/", "http://w.example/"])
        equal("private, comment, name", (info.priv(), info.comment(), info.name()), (True, "Grüße", "renamed"))
        equal("source", entry[b"info"].get(b"source"), b"SRC")
        check(b"creation date" not in entry, "--no-date leaves a date")
        first = hashlib.sha256(torrent.read_bytes()).hexdigest()
        again = create(lab, source, fmt, *OPTIONS)
        equal("the same bytes again", hashlib.sha256(again.read_bytes()).hexdigest(), first)


def check_command(lab):
    """`check` tells whole, damaged and missing data apart, and says so by its exit."""
    source = write_data(Shape("checked", {"a": 100_000, "b": 50_000, "c": 1, "e": 0}), lab.dir("data"))
    for fmt in FORMATS:
        torrent = create(lab, source, fmt, "--piece-length", "16KiB")
        folder = lab.dir(f"copy-{fmt}")
        shutil.copytree(source, folder / "checked")
        whole = json.loads(lab.output([binary(), "--json", "check", torrent, folder]).splitlines()[-1])
        equal("whole", (whole["complete"], whole["pieces_bad"], whole["pieces_missing"]), (True, 0, 0))
        with open(folder / "checked" / "a", "r+b") as f:
            f.seek(50_000)
            f.write(b"\0\0\0\0")
        os.remove(folder / "checked" / "c")
        hurt = json.loads(lab.output([binary(), "--json", "check", torrent, folder], ok=(1,)).splitlines()[-1])
        equal("damaged", (hurt["complete"], hurt["pieces_bad"] >= 1), (False, True))
        wrong = {f["path"] for f in hurt["files"] if not f["ok"]}
        check({"a", "c"} <= wrong, f"damaged or missing files reported: {sorted(wrong)}")


def register():
    for shape in SHAPES:
        CASES.add(f"show/{shape.name}", show_shape(shape))
    for shape in CREATED:
        CASES.add(f"create/{shape.name}", create_shape(shape), weight=2)
    CASES.add("create/options", create_options)
    CASES.add("check/damage", check_command)


def self_check(lab):
    """The corpus can be made and read by libtorrent; Transmission and aria2 print the hashes that we look for."""
    for shape in SHAPES:
        for fmt in shape.formats:
            data, source = build(shape, fmt, lab.dir(f"{shape.name}.{fmt}"))
            info = lt.torrent_info(data)
            equal(f"{shape.name} {fmt}", format_of(info), fmt)
            if fmt == "v1":
                path = lab.root / "t.torrent"
                path.write_bytes(data)
                for read in (transmission_hash, aria2_hash):
                    equal(f"{shape.name}: {read.__name__}", read(lab, path), hashes(info)["info_hash_v1"])
    for n, shape in enumerate(CREATED):
        data, source = build(shape, shape.formats[-1], lab.dir(f"recheck{n}"))
        path = lab.root / "t.torrent"
        path.write_bytes(data)
        recheck(lab, path, source.parent)
        listed = {p: (s, a.replace("x", "") if "l" in a else a) for p, s, a, _ in file_list(lt.torrent_info(data)) if "p" not in a}
        equal(f"{shape.name}: files", listed, expected_files(shape, source))


def register_self_check():
    CASES.add("metadata/corpus", self_check, weight=30)
