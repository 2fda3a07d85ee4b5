"""VPN_ARGS for openconnect: what is taken, what is refused with which advice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.clients.oc_arguments import REFUSED, check, server

WORDS = [
    "/x",
    "-c",
    "/vpn/me.pem",
    "--certificate",
    "--authgroup=a b",
    "--script",
    "--scr=x",
    "-v",
    "--",
    "-",
    "",
]


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--servercert", "pin-sha256:abc=", "--authgroup=Staff"),
        ("--cafile=/vpn/ca.pem", "-q", "--no-dtls"),
        ("--useragent=AnyConnect", "--os", "win", "--force-dpd=5"),
        ("--csd-wrapper", "/vpn/csd-post.sh"),
        ("-F", "main:group_list=x"),
    ],
)
def test_what_disturbs_nobody_is_taken(args: tuple[str, ...]) -> None:
    """Certificates, groups, timers; a program for the host check by explicit wish."""
    assert check(args).faults == ()


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_fights_us_is_refused_by_name(name: str) -> None:
    """One message, with what to do."""
    (fault,) = check((f"--{name}",) if _is_flag(name) else (f"--{name}", "x")).faults
    assert fault.startswith(f"cannot use VPN_ARGS: --{name}: {REFUSED[name]}; ")


def _is_flag(name: str) -> bool:
    return check((f"--{name}=x",)).faults[0].endswith("must not have an argument; see `openconnect --help`")


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("--backg",), "background"),
        (("-b",), "background"),
        (("-qb",), "background"),
        (("-v",), "verbose"),
        (("-sx",), "script"),
        (("--script-t",), "script-tun"),
        (("-u", "ada"), "user"),
        (("--token-s=x",), "token-secret"),
        (("--dump",), "dump-http-traffic"),
    ],
)
def test_an_abbreviation_is_refused_as_what_it_means(args: tuple[str, ...], name: str) -> None:
    """getopt_long(3) takes any unambiguous beginning, and one-letter options together."""
    (fault,) = check(args).faults
    assert f"--{name}:" in fault


@pytest.mark.parametrize("word", ["evil.example.com", "-", "x", "--"])
def test_a_word_that_is_no_option_is_refused(word: str) -> None:
    """It would be the server, or one too many."""
    (fault,) = check(("--authgroup", "Sales", word)).faults
    assert fault.startswith("cannot use VPN_ARGS: a word in it is no option; ")
    assert "VPN_SERVER" in fault


@pytest.mark.parametrize("args", [("--authgroup",), ("--certificate",), ("-c",), ("--no-such",), ("--no-d",)])
def test_what_openconnect_would_not_understand_is_named(args: tuple[str, ...]) -> None:
    """A value that lacks would take the server's name in its place."""
    (fault,) = check(args).faults
    assert fault.startswith("cannot use VPN_ARGS: option -")


@pytest.mark.parametrize("args", [("-c", "/vpn/me.pem"), ("--certificate=/vpn/me.pem",), ("--certi", "/x")])
def test_a_client_certificate_is_seen(args: tuple[str, ...]) -> None:
    """It is a way to log in."""
    assert check(args).certificate
    assert not check(("--cafile", "/x", "--servercert=-c")).certificate


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=20)), max_size=6))
def test_no_arguments_are_more_than_a_fault(args: list[str]) -> None:
    """Whatever stands there, the answer is a list of faults."""
    assert all(isinstance(fault, str) for fault in check(args).faults)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("vpn.example.com", "vpn.example.com"),
        ("vpn.example.com:8443", "vpn.example.com"),
        ("https://vpn-1.example.com/staff?x=1", "vpn-1.example.com"),
        ("https://198.51.100.10:443/", "198.51.100.10"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("gate", "gate"),
    ],
)
def test_a_server_is_a_name_or_an_address(text: str, host: str) -> None:
    """What is looked up is its host; openconnect is given all of it."""
    found = server(text)
    assert (found.host, str(found)) == (host, text)


@pytest.mark.parametrize(
    "text",
    [
        "--script=x",
        "vpn example.com",
        "http://vpn.example.com",
        "https://user:word@vpn.example.com",
        "vpn.example.com:0",
        "vpn.example.com:99999",
        "2001:db8::1",
        "[198.51.100.10]",
        "198.51.100.999",
        "vpn.example.com\n",
        "https://",
        "-",
    ],
)
def test_what_is_no_server_is_refused(text: str) -> None:
    """An option least of all."""
    with pytest.raises(ValueError, match="is no server; write "):
        server(text)
