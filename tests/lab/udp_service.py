"""A UDP service on every address of its host, as most are: it answers with the address that asked.

Runs as a script as well, in a container: the standard library alone.
"""

import selectors
import socket
import sys


def main() -> None:
    """Answer for ever, in both families."""
    with selectors.DefaultSelector() as selector:
        for port in map(int, sys.argv[1:]):
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
                listener = socket.socket(family, socket.SOCK_DGRAM)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((everywhere, port))
                selector.register(listener, selectors.EVENT_READ, listener)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                _, peer = key.data.recvfrom(100)
                key.data.sendto(peer[0].encode(), peer)


if __name__ == "__main__":
    main()
