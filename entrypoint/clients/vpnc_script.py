"""What openconnect calls in place of vpnc-script: hands over what it was told of the tunnel, and waits.

Started as `python3 -I -S vpnc_script.py SOCKET` with openconnect's environment, so it imports nothing of ours
and changes nothing: the client that listens at the socket answers once it has taken in what it was told.
"""

import os
import socket
import sys

ANSWER_SECONDS = 10.0
"""More than the client takes to look up the server's name."""
# The rest of the environment is none of the client's business.
_TOLD = (
    b"reason",
    b"TUNDEV",
    b"VPNGATEWAY",
    b"INTERNAL_IP",
    b"CISCO_SPLIT_",
    b"CISCO_IPV6_",
    b"CISCO_DEF_DOMAIN",
)


def main() -> None:
    """Tell the client, and return when it has answered; exit status 1 where it does not."""
    told = (b"%b=%b\0" % variable for variable in os.environb.items() if variable[0].startswith(_TOLD))
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(ANSWER_SECONDS)
            channel.connect(sys.argv[1])
            channel.sendall(b"".join(told))
            channel.shutdown(socket.SHUT_WR)
            if not channel.recv(1):
                raise ConnectionResetError("it hung up")
    except OSError as error:
        sys.exit(f"cannot tell sidegate of the tunnel: {error}")


if __name__ == "__main__":
    main()
