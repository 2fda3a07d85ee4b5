"""A vendor's client as far as anybody can have one here: a program that makes a tunnel in its own way."""

from pathlib import Path

from tests.lab.openvpn_server import OpenVPNServer


class VendorServer(OpenVPNServer):
    """A server whose client is started by a command that stays in the foreground."""

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; return the settings that a sidecar needs."""
        config = self.write_client_config(directory / "client.ovpn")
        return {"VPN_CLIENT": "command", "VPN_COMMAND": f"openvpn --config {config}"}


class DaemonVendorServer(VendorServer):
    """A server whose client daemonises: its command has ended before the tunnel is up."""

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; return the settings that a sidecar needs."""
        daemon = f" --daemon vendor --log {directory}/vendor.log --writepid {directory}/vendor.pid"
        settings = super().settings(directory)
        stop = f"sh -c 'kill $(cat {directory}/vendor.pid)'"
        return {**settings, "VPN_COMMAND": settings["VPN_COMMAND"] + daemon, "VPN_STOP_COMMAND": stop}
