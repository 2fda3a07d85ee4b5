"""A program that tries to get out, again and again, by TCP, UDP, a DNS question and a ping.

`python -m tests.lab.leak_probe LONGEST ADDRESS...` tries each address until its standard input is closed,
LONGEST seconds at most, and says when it has tried a few times.
"""

import collections
import contextlib
import selectors
import socket
import struct
import sys
import time

PORT = 4444
"""Of TCP and UDP: nobody listens there."""
NAME = "leak.example"
"""What is asked of a resolver at each address."""
PERIOD = 0.02
ENOUGH = 5
_OPEN_MAX = 100
_DNS_PORT = 53


def question(name: str) -> bytes:
    """Return a DNS question for an IPv4 address (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def ping(*, ipv6: bool) -> bytes:
    """Return an echo request; the kernel writes the checksum of ICMPv6."""
    if ipv6:
        return struct.pack("!BBHHH", 128, 0, 0, 1, 1)
    checksum = ~(0x0800 + 1 + 1) & 0xFFFF
    return struct.pack("!BBHHH", 8, 0, checksum, 1, 1)


def attempt(address: str) -> socket.socket:
    """Try every protocol; return the connection that is being made."""
    ipv6 = ":" in address
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(0)
    connection.connect_ex((address, PORT))
    protocol = socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP
    with (
        socket.socket(family, socket.SOCK_DGRAM) as udp,
        socket.socket(family, socket.SOCK_RAW, protocol) as raw,
    ):
        for sender, data, port in (
            (udp, b"leak", PORT),
            (udp, question(NAME), _DNS_PORT),
            (raw, ping(ipv6=ipv6), 0),
        ):
            # That it is refused is what is hoped for.
            with contextlib.suppress(OSError):
                sender.sendto(data, (address, port))
    return connection


def main() -> None:
    """Try until the input ends."""
    longest, *addresses = sys.argv[1:]
    made: collections.deque[socket.socket] = collections.deque()
    end, tries = time.monotonic() + float(longest), 0
    sys.stdout.write("trying\n")
    sys.stdout.flush()
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while time.monotonic() < end and not waiting.select(PERIOD):
            made += map(attempt, addresses)
            tries += 1
            if tries == ENOUGH:
                sys.stdout.write("tried enough\n")
                sys.stdout.flush()
            while len(made) > _OPEN_MAX:
                made.popleft().close()


if __name__ == "__main__":
    main()
