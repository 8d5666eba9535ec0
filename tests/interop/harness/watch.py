"""Every packet of a network, as the switch sees it."""
import socket
import struct
import threading
import time
from dataclasses import dataclass

ETH_P_ALL, PACKET_OUTGOING = 0x0003, 4
IPV4, IPV6, TCP, UDP = 0x0800, 0x86DD, 6, 17


@dataclass(frozen=True)
class Packet:
    """What is inside an IP packet; `kind` is the protocol's number."""
    at: float
    kind: int
    source: tuple
    target: tuple
    data: bytes


def parse(frame, at):
    """The packet in an Ethernet frame, or None for what is not TCP or UDP."""
    ether, = struct.unpack_from("!H", frame, 12)
    if ether == IPV4:
        size, kind, family = 14 + (frame[14] & 15) * 4, frame[23], socket.AF_INET
        total, = struct.unpack_from("!H", frame, 16)
        source, target, end = frame[26:30], frame[30:34], 14 + total
    elif ether == IPV6:
        size, kind, family = 54, frame[20], socket.AF_INET6
        length, = struct.unpack_from("!H", frame, 18)
        source, target, end = frame[22:38], frame[38:54], 54 + length
    else:
        return None
    if kind not in (TCP, UDP):
        return None
    ports = struct.unpack_from("!HH", frame, size)
    data = size + (8 if kind == UDP else (frame[size + 12] >> 4) * 4)
    names = (socket.inet_ntop(family, a) for a in (source, target))
    source, target = zip(names, ports)
    return Packet(at, kind, source, target, frame[data:end])


class Watcher:
    """Keeps each TCP and UDP packet that comes in at a port of the switch, cut to 2 KiB; made by a thread that is on the switch."""

    def __init__(self, lab):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.start, self.packets, self.open = time.monotonic(), [], True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        lab.at_end(self.stop)

    def run(self):
        self.socket.settimeout(0.2)
        while self.open:
            try:
                frame, (device, _, direction, *_) = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            if device.startswith("port") and direction != PACKET_OUTGOING:
                packet = parse(frame, time.monotonic() - self.start)
                if packet:
                    self.packets.append(packet)

    def about(self, marks):
        """UDP packets so far with any of these bytes in them."""
        return [p for p in list(self.packets) if p.kind == UDP and any(mark in p.data for mark in marks)]

    def between(self, hosts):
        """TCP packets so far whose both ends are of these hosts."""
        return [p for p in list(self.packets) if p.kind == TCP and {p.source[0], p.target[0]} <= hosts]

    def stop(self):
        if self.open:
            self.open = False
            self.thread.join()
            self.socket.close()
        return self.packets
