"""Configurations as commercial providers give them out."""

from tests.tunnel.product import Product

LIKE_A_PROVIDERS = (
    "script-security 2",
    "up /etc/openvpn/update-resolv-conf",
    "down /etc/openvpn/update-resolv-conf",
    "user nobody",
    "group nogroup",
    "remote-random-hostname",
    "pull-filter ignore block-outside-dns",
    "block-outside-dns",
    "auth-nocache",
    "reneg-sec 0",
    "mute-replay-warnings",
    "verb 3",
    "keysize 256",
    "key-method 2",
    "ncp-disable",
    "no-iv",
    "tun-ipv6",
    "max-routes 100",
    "ns-cert-type server",
    "nice -10",
    "fast-io",
    "route-method exe",
    "setenv CLIENT_CERT 0",
    "setenv opt block-outside-dns",
    "ignore-unknown-option block-outside-dns data-ciphers",
    "cipher AES-256-CBC",
    "auth SHA512",
    "mssfix 1450",
    "tun-mtu-extra 32",
    "explicit-exit-notify 5",
    "compat-mode 2.4.0",
)


def test_a_desktops_resolver_scripts_are_left_out_and_told(product: Product) -> None:
    """The lines that half of all providers write for Debian's desktop keep nobody out."""
    file = product.directory / "provider.ovpn"
    product.server.write_client_config(file, *LIKE_A_PROVIDERS)
    sidecar = product.sidecar({"VPN_CONFIG": str(file)}).start()
    sidecar.wait_until_ready()
    told = "\n".join(sidecar.lines)
    for directive in ("up", "down", "user", "group", "block-outside-dns", "keysize", "ncp-disable"):
        assert f"({directive}) is left out: " in told


def test_a_second_server_has_its_turn(product: Product) -> None:
    """A first `remote` that is silent costs ten seconds, not the whole attempt."""
    file = product.directory / "two.ovpn"
    text = product.server.client_config()
    # Nobody is at this address of the lab, and nobody says so.
    file.write_text(text.replace("remote ", "remote 198.51.100.77 1194\nremote ", 1))
    sidecar = product.sidecar({"VPN_CONFIG": str(file)}).start()
    sidecar.wait_until_ready(timeout=30)
    assert sidecar.status()["restarts"] == 0


def test_a_lost_tunnel_is_said_in_our_own_words(product: Product) -> None:
    """With a quiet log the outage is still there to be seen."""
    sidecar = product.start(LOG_LEVEL="warning")
    sidecar.wait_until_ready()
    product.lab.sidecar.ip("link del tun0")
    sidecar.wait_for_line("the tunnel is gone; replies to the LAN are kept")


def test_the_first_line_says_who_is_there(product: Product) -> None:
    """Version, configuration and endpoint: what anyone asks first."""
    sidecar = product.start()
    sidecar.wait_for_line("ready: ")
    assert f"openvpn with {sidecar.environment['VPN_CONFIG']}; health at 127.0.0.1:9797" in sidecar.lines[0]
