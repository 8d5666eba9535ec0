"""Networks of their own: a switch and hosts on it, as network namespaces that nothing leaves. Needs root.

A case that calls `Network(lab)` works inside from then on: its thread, and what it starts, is a machine on the switch
that sees all of it. `spawn(.., host=..)` starts a process on a host, which has an address of either family, a default
route (which leads nowhere), and names of its own (`/etc/hosts`). Multicast works as on any switch.
"""
import ctypes
import os
import subprocess
import threading

from harness.lab import check

CLONE_NEWNS, CLONE_NEWNET = 0x0002_0000, 0x4000_0000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
BOOTSTRAP_NAMES = ("dht.libtorrent.org", "dht.aelitis.com", "dht.transmissionbt.com", "router.bittorrent.com", "router.utorrent.com")

_libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def here():
    """A descriptor of the namespace that this thread is in."""
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(fd):
    must(_libc.setns(fd, CLONE_NEWNET), "setns")


def ip(*args):
    done = subprocess.run(["ip", *map(str, args)], capture_output=True, text=True)
    check(done.returncode == 0, f"ip {' '.join(map(str, args))}: {done.stderr.strip()}")


class Host:
    """A machine: addresses 10.9.N.1 and fd09::N:1, each in a /24 of its own, as the tables of a DHT want it."""

    def __init__(self, fd, number, etc):
        self.fd, self.ip4, self.ip6, self.etc = fd, f"10.9.{number}.1", f"fd09::{number:x}:1", etc

    def become(self):
        """For a child between fork and exec: be on this machine."""
        enter(self.fd)
        must(_libc.unshare(CLONE_NEWNS), "unshare")
        must(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
        for name in ("hosts", "resolv.conf"):
            must(_libc.mount(os.fsencode(self.etc / name), os.fsencode(f"/etc/{name}"), None, MS_BIND, None), "mount")


    def alias(self, number):
        """One more address, and it."""
        def add():
            ip("addr", "add", f"10.9.{number}.1/16", "dev", "eth0")
        self.inside(add)
        return f"10.9.{number}.1"

    def inside(self, work):
        """Do something as this machine."""
        before = here()
        enter(self.fd)
        try:
            return work()
        finally:
            enter(before)
            os.close(before)


class Network:
    """`bootstrap` is the number of the host that the well-known names of the DHT stand for."""

    def __init__(self, lab, bootstrap=250):
        check(os.geteuid() == 0, "network namespaces need root")
        self.lab, self.count = lab, 0
        self.etc = lab.dir("etc")
        names = "".join(f"10.9.{bootstrap}.1 {n}\nfd09::{bootstrap:x}:1 {n}\n" for n in BOOTSTRAP_NAMES)
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # nobody: other names are refused at once
        before = here()
        lab.at_end(lambda: os.close(before))
        must(_libc.unshare(CLONE_NEWNET), "unshare")
        lab.at_end(lambda: enter(before))
        self.switch = self.keep(here())
        ip("link", "set", "lo", "up")
        ip("link", "add", "switch", "type", "bridge", "mcast_snooping", 0)
        self.plug("switch", "10.9.0.1", "fd09::1")

    def keep(self, fd):
        self.lab.at_end(lambda: os.close(fd))
        return fd

    def plug(self, device, ip4, ip6):
        ip("addr", "add", f"{ip4}/16", "dev", device)
        ip("addr", "add", f"{ip6}/64", "dev", device, "nodad")
        ip("link", "set", device, "up")

    def host(self, number=None):
        """One more machine; `number` (1 to 250) for one that must have a certain address."""
        if number is None:
            self.count += 1
            number = self.count
        must(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            fd = self.keep(here())
            host = Host(fd, number, self.etc)
            ip("link", "set", "lo", "up")
            ip("link", "add", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns", f"/proc/{os.getpid()}/fd/{self.switch}")
            self.plug("eth0", host.ip4, host.ip6)
            ip("route", "add", "default", "via", "10.9.0.1")
            ip("route", "add", "default", "via", "fd09::1")
        finally:
            enter(self.switch)
        ip("link", "set", f"port{number}", "master", "switch", "up")
        return host
