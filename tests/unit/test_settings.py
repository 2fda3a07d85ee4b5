import dataclasses
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint import settings
from entrypoint.faults import BadSettings
from entrypoint.settings import TABLE, load
from tests.unit.samples import SAMPLES

NAMES = [row.name for row in TABLE]
SECRETS = [row.name for row in TABLE if row.secret]
"""Settings of which nothing but the default can be used so far."""

names = st.sampled_from([*NAMES, *(name + "_FILE" for name in NAMES)])
environments = st.dictionaries(names, st.text(st.characters(exclude_characters="\0")), max_size=6)


def faults(environ: dict[str, str]) -> tuple[str, ...]:
    """Return what is wrong with an environment."""
    with pytest.raises(BadSettings) as caught:
        load(environ)
    return caught.value.texts


def complaints(environ: dict[str, str]) -> tuple[str, ...]:
    """Return what is wrong with an environment, if anything; any other exception passes through."""
    try:
        load(environ)
    except BadSettings as fault:
        return fault.texts
    return ()


def test_an_empty_environment_is_all_defaults() -> None:
    """The smallest thing that works needs no setting at all."""
    loaded, warnings = load({})
    assert warnings == []
    assert dataclasses.asdict(loaded) == {
        "vpn_client": "auto",
        "vpn_config": None,
        "vpn_server": None,
        "vpn_protocol": "anyconnect",
        "vpn_username": None,
        "vpn_password": None,
        "vpn_totp_secret": None,
        "vpn_key_passphrase": None,
        "vpn_args": None,
        "vpn_command": None,
        "vpn_stop_command": None,
        "vpn_interface": None,
        "vpn_up_timeout": 60.0,
        "vpn_dns": "keep",
        "restart_delay_max": 60.0,
        "lan_networks": None,
        "gateways": None,
        "udp_reply_ports": None,
        "kill_switch": "off",
        "rule_priority": 90,
        "route_table": 7100,
        "health_listen": ("127.0.0.1", 9797),
        "health_target": None,
        "health_interval": 30.0,
        "on_up": None,
        "on_down": None,
        "log_level": "info",
        "log_format": "text",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_default_written_out_means_the_same_as_none(name: str) -> None:
    """What the reference gives as the default can be copied into a compose file."""
    default = next(row.default for row in TABLE if row.name == name)
    assert load({name: default}) == load({})


@pytest.mark.parametrize("name", [*NAMES, "VPN_CONFIG_FILE", "ENV_FILE"])
def test_an_empty_value_counts_as_not_set(name: str) -> None:
    """Compose sets `NAME: ${NAME}` to nothing where the shell has no such variable."""
    assert load({name: ""}) == load({})


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """A user with three mistakes needs one start to see them, each beginning with its setting."""
    texts = faults(
        {
            "VPN_CLIENT": "opnvpn",
            "VPN_UP_TIMEOUT": "soon",
            "KILL_SWITCH": "maybe",
            "RULE_PRIORITY": "ninety",
            "VPN_PASSWORD_FILE": str(tmp_path / "none"),
        }
    )
    assert [text.split(" ")[0] for text in texts] == [
        "VPN_CLIENT='opnvpn'",
        "cannot",
        "VPN_UP_TIMEOUT='soon'",
        "KILL_SWITCH='maybe'",
        "RULE_PRIORITY='ninety'",
    ]
    assert "VPN_PASSWORD_FILE" in texts[1]


def test_there_is_a_sample_for_every_setting() -> None:
    """A new row cannot slip past the tests below, nor past those that see each setting take effect."""
    assert set(SAMPLES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_taken(name: str) -> None:
    """Nothing is accepted and ignored; tests/kernel/test_settings_work.py sees the rest work."""
    changed, _ = load({name: SAMPLES[name]})
    assert getattr(changed, name.lower()) != getattr(load({})[0], name.lower())


@given(environments)
@example({"VPN_PASSWORD_FILE": "/no/such\nfile"})
@example({"ENV_FILE": "/no/such\nfile"})
def test_no_environment_is_more_than_a_fault(environ: dict[str, str]) -> None:
    """Whatever stands in the environment, the answer is settings or faults of a line each."""
    for text in complaints(environ):
        assert len(text.splitlines()) == 1, text


@given(environments)
def test_a_fault_names_the_setting_that_has_it(environ: dict[str, str]) -> None:
    """Each text holds a name that was set."""
    for text in complaints(environ):
        assert any(name in text for name in environ), text


@given(st.sampled_from(SECRETS), st.text(st.characters(exclude_characters="\0'\""), min_size=8))
def test_a_secret_is_neither_printed_nor_told_in_an_error(name: str, value: str) -> None:
    """Neither the settings' own text nor any fault, the one of a setting not built included, shows it."""
    secret = f"<{value}>"
    try:
        loaded, _ = load({name: secret})
        shown = f"{loaded!r} {loaded} {loaded.secrets}"
        held = getattr(loaded, name.lower())
        assert held.reveal() == secret
        assert loaded.secrets == (() if name == "VPN_USERNAME" else (held,))
    except BadSettings as fault:
        shown = str(fault)
    assert secret not in shown
    assert repr(secret)[1:-1] not in shown


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("VPN_CONFG", "VPN_CONFIG"),
        ("VPN_USER", "VPN_USERNAME"),
        ("VPN_PASWORD_FILE", "VPN_PASSWORD"),
        ("HEALTH_LISTENS", "HEALTH_LISTEN"),
        ("LAN_NETWORK", "LAN_NETWORKS"),
        ("KILL_SWICH", "KILL_SWITCH"),
        ("LOG_LEVELS", "LOG_LEVEL"),
    ],
)
def test_a_name_like_ours_is_taken_for_a_typo(name: str, nearest: str) -> None:
    """It is ignored with a warning that names the nearest setting."""
    assert load({name: "x"})[1] == [f"{name} is no setting of ours and is ignored; did you mean {nearest}?"]


def test_a_name_that_is_like_none_of_ours_gets_no_advice() -> None:
    """What is far off would send the user away in the wrong direction."""
    assert load({"VPN_COLOUR": "red"})[1] == ["VPN_COLOUR is no setting of ours and is ignored"]


def test_gluetuns_settings_are_named_in_one_warning() -> None:
    """Who moves over from it is told what to do here, and no value is shown."""
    theirs = {
        "VPN_SERVICE_PROVIDER": "mullvad",
        "VPN_TYPE": "wireguard",
        "OPENVPN_USER": "alice",
        "WIREGUARD_PRIVATE_KEY": "s3cret",
        "FIREWALL_OUTBOUND_SUBNETS": "10.20.0.0/24",
        "SERVER_COUNTRIES": "Sweden",
    }
    (text,) = load(theirs)[1]
    assert all(name in text for name in theirs)
    assert "gluetun's settings they are ignored here; put the provider's own *.ovpn or *.conf into" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("name", ["OPENVPN_SERVICE_HOST", "OPENVPN_PORT_1194_UDP", "SERVER_NAME"])
def test_what_others_set_is_not_taken_for_gluetuns(name: str) -> None:
    """A Kubernetes service called "openvpn" is none of it."""
    assert load({name: "x"})[1] == []


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_fault_of_a_value_in_quotes_tells_of_them(quote: str) -> None:
    """A list of compose keeps the quotes: `- VPN_CLIENT="openvpn"`."""
    (text,) = faults({"VPN_CLIENT": f"{quote}openvpn{quote}"})
    assert text.endswith("; the quotes are a part of the value: write it without")
    assert "quotes" not in faults({"VPN_CLIENT": "opnvpn"})[0]


@pytest.mark.parametrize("name", ["VPN_PASSWORD", "VPN_USERNAME", "VPN_SERVER"])
def test_quotes_around_any_text_are_told(name: str) -> None:
    """They may be meant; a password is not shown."""
    loaded, (warning,) = load({name: "'hunter2'"})
    assert warning.startswith(f"{name} begins and ends with a quotation mark")
    assert "hunter2" not in warning
    held = getattr(loaded, name.lower())
    assert (held if isinstance(held, str) else held.reveal()) == "'hunter2'"


def test_a_secrets_file_is_advised_like_a_secrets_file() -> None:
    """The provider's configuration holds no password."""
    (text,) = faults({"VPN_PASSWORD_FILE": "password.txt"})
    assert text.endswith("write it from the root, like /run/secrets/vpn_password")


@pytest.mark.parametrize("value", ["53", "53 27015-27020", "all"])
def test_a_port_that_kubernetes_would_not_set_is_a_typo(value: str) -> None:
    """What it sets is an address: a letter less of ours looks like the port of a service."""
    assert load({"UDP_REPLY_PORT": value})[1] == [
        "UDP_REPLY_PORT is no setting of ours and is ignored; did you mean UDP_REPLY_PORTS?"
    ]


def test_one_letter_less_is_a_typo_too() -> None:
    """A name of one word begins like none of ours once a letter of it is missing."""
    assert load({"GATEWAY": "eth1=172.31.0.1"})[1] == [
        "GATEWAY is no setting of ours and is ignored; did you mean GATEWAYS?"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "VPN_SERVICE_HOST",
        "VPN_SERVICE_PORT",
        "VPN_SERVICE_PORT_HTTP",
        "VPN_PORT",
        "VPN_PORT_80_TCP",
        "VPN_PORT_80_TCP_ADDR",
        "VPN_PORT_80_TCP_PORT",
        "VPN_PORT_80_TCP_PROTO",
        "HEALTH_CHECKER_SERVICE_HOST",
        "PATH",
        "VPNX",
    ],
)
def test_what_kubernetes_sets_is_no_typo(name: str) -> None:
    """A service called "vpn" gives every pod such names (kubernetes.io, "Accessing the Service")."""
    assert load({name: "tcp://10.96.0.7:80"})[1] == []


def test_the_reference_has_a_row_for_each_setting() -> None:
    """Four cells, the name and the default as they are written in a compose file."""
    lines = settings.markdown_table().splitlines()
    assert lines[0] == "| name | default | unit | meaning |"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in rows] == [f"`{name}`" for name in NAMES]
    assert {len(row) for row in rows} == {4}
