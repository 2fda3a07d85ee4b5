"""What the kernel says of addresses and the ways to them, asked by sockets that send nothing."""

import socket
from ipaddress import ip_address

from entrypoint.network import DISCARD_PORT, IPV6, IPAddress

_IP_MTU, _IPV6_MTU = 14, 24
"""Of linux/in.h and linux/in6.h: the MTU of the way that a connected socket has."""


def source_towards(address: IPAddress) -> IPAddress | None:
    """Return the address of ours that the kernel would give to a packet; None where it knows no way."""
    with _asking(address) as asking:
        try:
            # Nothing is sent: a connected datagram socket has looked up its route (udp(7)).
            asking.connect((str(address), DISCARD_PORT))
        except OSError:
            return None
        return ip_address(asking.getsockname()[0])


def mtu_towards(address: IPAddress, mark: int) -> int | None:
    """Return the largest packet, in bytes, that fits the way of packets that carry this mark.

    None where there is no way, or the mark may not be set (that takes NET_ADMIN).
    """
    level, option = (
        (socket.IPPROTO_IPV6, _IPV6_MTU) if address.version == IPV6 else (socket.IPPROTO_IP, _IP_MTU)
    )
    with _asking(address) as asking:
        try:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            asking.connect((str(address), DISCARD_PORT))
            return asking.getsockopt(level, option)
        except OSError:
            return None


def is_ours(address: IPAddress) -> bool:
    """Tell whether an address stands on one of our links."""
    with _asking(address) as asking:
        try:
            asking.bind((str(address), 0))
        except OSError:
            return False
        return True


def _asking(address: IPAddress) -> socket.socket:
    """Return a socket of the address's family."""
    family = socket.AF_INET6 if address.version == IPV6 else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)
