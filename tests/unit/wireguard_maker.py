"""WireGuard configurations as the tests make them; the keys are of nobody."""

import base64

OURS = base64.b64encode(bytes(range(32))).decode()
THEIRS = base64.b64encode(bytes(range(32, 64))).decode()
OTHERS = base64.b64encode(bytes(range(64, 96))).decode()
SHARED = base64.b64encode(bytes(range(96, 128))).decode()

INTERFACE = f"[Interface]\nPrivateKey = {OURS}\nAddress = 10.2.0.2/32\n"
PEER = f"[Peer]\nPublicKey = {THEIRS}\nAllowedIPs = 0.0.0.0/0\nEndpoint = vpn.example.com:51820\n"
BASE = f"{INTERFACE}\n{PEER}"
