"""A value for each setting that is not its default."""

from collections.abc import Mapping

SAMPLES: Mapping[str, str] = {
    "VPN_CLIENT": "openvpn",
    "VPN_CONFIG": "/etc/vpn/work.ovpn",
    "VPN_SERVER": "vpn.example.org",
    "VPN_PROTOCOL": "gp",
    "VPN_USERNAME": "alice@example.org",
    "VPN_PASSWORD": "correct horse",
    "VPN_TOTP_SECRET": "JBSWY3DPEHPK3PXP",
    "VPN_KEY_PASSPHRASE": "open sesame",
    "VPN_ARGS": "--setenv UV_SITE 'head office'",
    "VPN_COMMAND": "/opt/vendor/vpn connect",
    "VPN_STOP_COMMAND": "/opt/vendor/vpn disconnect",
    "VPN_INTERFACE": "tun7",
    "VPN_UP_TIMEOUT": "300ms",
    "VPN_DNS": "10.0.0.53",
    "RESTART_DELAY_MAX": "200ms",
    "LAN_NETWORKS": "10.20.0.0/24, 10.21.0.0/24",
    "GATEWAYS": "eth0=172.30.0.9",
    "UDP_REPLY_PORTS": "53,5000-5100",
    "KILL_SWITCH": "on",
    "RULE_PRIORITY": "95",
    "ROUTE_TABLE": "5000",
    "HEALTH_LISTEN": "127.0.0.1:9898",
    "HEALTH_TARGET": "10.50.0.10:80",
    "HEALTH_INTERVAL": "1s",
    "ON_UP": "touch 'told of up'",
    "ON_DOWN": "touch 'told of down'",
    "LOG_LEVEL": "error",
    "LOG_FORMAT": "json",
}
"""Setting -> value."""
