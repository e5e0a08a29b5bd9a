"""Sends a RST in an upstream's name, as a middlebox does: forge.py PORT, on loopback.

Waits for the first packet with a payload to that port, and resets its sender from the wire.
"""
import socket
import struct
import sys


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def request_to(port):
    """The gateway's port, and the sequence number that it expects next."""
    # ETH_P_IP: what a device receives.
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    wire.bind(("lo", 0x0800))
    wire.settimeout(10)
    print("listening", flush=True)
    while True:
        packet = wire.recv(65535)
        start = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_TCP:
            continue
        source, target, _, expected = struct.unpack("!HHII", packet[start:start + 12])
        payload = len(packet) - start - (packet[start + 12] >> 4) * 4
        if target == port and payload > 0:
            return source, expected


def reset(source, target, sequence):
    local = socket.inet_aton("127.0.0.1")
    flags_rst = 4
    tcp = struct.pack("!HHIIBBHHH", source, target, sequence, 0, 5 << 4, flags_rst, 0, 0, 0)
    pseudo = local + local + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.sendto(tcp, ("127.0.0.1", 0))


def main():
    port = int(sys.argv[1])
    gateway, expected = request_to(port)
    reset(port, gateway, expected)
    print("forged", flush=True)


main()
