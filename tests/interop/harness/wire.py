"""Just enough of the peer protocol (BEP 3, 6, 9, 10, 52) to break it on purpose."""
import os
import socket
import struct
import threading

import libtorrent as lt

from harness.lab import HOST

HANDSHAKE_LEN = 68
CHOKE, UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = 0, 1, 2, 4, 5, 6, 7
HAVE_ALL, HAVE_NONE, EXTENDED, HASH_REQUEST, HASHES = 0x0E, 0x0F, 20, 21, 22
# BEP 10, BEP 6, and the v2 bit of BEP 52.
RESERVED = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x14])


def wire_hash(sample):
    """The 20 bytes that name the sample on the wire."""
    both = sample.info().info_hashes()
    return both.v1.to_bytes() if both.has_v1() else both.v2.to_bytes()[:20]


def message(kind, payload=b""):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def extension_handshake(**fields):
    entry = {b"m": {b"ut_metadata": 3}, **{k.encode(): v for k, v in fields.items()}}
    return message(EXTENDED, b"\0" + lt.bencode(entry))


class Wire:
    """One connection, from the side that misbehaves."""

    def __init__(self, sock, sample):
        self.sock, self.name = sock, wire_hash(sample)
        self.info = sample.info().info_section()
        sock.settimeout(60)

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def handshake(self, info_hash=None):
        """Say ours and read theirs; both sides may speak first."""
        hash_ = self.name if info_hash is None else info_hash
        self.send(b"\x13BitTorrent protocol", RESERVED, hash_, b"-XX0000-" + os.urandom(12))
        self.exactly(HANDSHAKE_LEN)

    def read(self):
        """The next message as (kind, payload), keep-alives left out."""
        while True:
            (length,) = struct.unpack(">I", self.exactly(4))
            if length:
                body = self.exactly(length)
                return body[0], body[1:]

    def drain(self):
        """Read until the other side closes."""
        while self.sock.recv(65536):
            pass


class Hostile:
    """A peer that accepts or makes connections and runs `act` on each. Errors of a closed connection are its end."""

    host = HOST

    def __init__(self, sample, act):
        self.sample, self.act = sample, act
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.addresses = {f"{HOST}:{self.port}"}
        self.open = []
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.run(sock)

    def address(self):
        return f"{HOST}:{self.port}"

    def dial(self, port):
        sock = socket.create_connection((HOST, port))
        self.addresses.add("{}:{}".format(*sock.getsockname()))
        self.run(sock)

    def run(self, sock):
        self.open.append(sock)
        threading.Thread(target=self.behave, args=(sock,), daemon=True).start()

    def behave(self, sock):
        try:
            self.act(Wire(sock, self.sample))
        except OSError:
            pass
        finally:
            sock.close()

    def close(self):
        self.listener.close()
        for sock in self.open:
            sock.close()
