import pytest

from entrypoint.names import NAME_MAX, is_address, is_domain, is_host, wire

LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])


@pytest.mark.parametrize(
    "text", ["example", "corp.example.", "_dc-1.Corp.example", "10.example", "a", LONGEST]
)
def test_letters_digits_hyphens_and_underscores_make_a_name(text: str) -> None:
    """A last dot is a part of no label."""
    assert is_domain(text)
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a..b", ".a", "a..", "-a.example", "a-.example", "a" * 64, f"{LONGEST}a"),
        *("büro.example", "\u212a.example", "a b", "a\n", "a/b", "a:b", "a%b", "*.example", "/../etc/passwd"),
    ],
)
def test_what_a_line_of_a_file_could_mean_something_else_by_is_no_name(text: str) -> None:
    """A server has its say in search domains, and they are written into resolv.conf."""
    assert not is_domain(text)
    assert not is_host(text)


@pytest.mark.parametrize("text", ["10.1", "1234", "host.10", "10.0.0.1", "10.0.0.1."])
def test_what_a_resolver_may_read_as_an_address_is_no_name_of_a_host(text: str) -> None:
    """10.1 is 10.0.0.1 to the C library."""
    assert not is_host(text)


@pytest.mark.parametrize(
    ("text", "address"), [("10.0.0.1", True), ("fd00::1", True), ("10.1", False), ("", False)]
)
def test_an_address_is_one_in_full(text: str, *, address: bool) -> None:
    """Of either family."""
    assert is_address(text) == address


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("vpn.Example", b"\x03vpn\x07Example\x00"),
        ("büro.example", b"\x0bxn--bro-hoa\x07example\x00"),
        ("a..b", None),
        ("a.b.", None),
        ("", None),
        ("a" * 64, None),
        (f"{LONGEST}a", None),
    ],
)
def test_a_name_is_written_as_a_question_holds_it(name: str, written: bytes | None) -> None:
    """Letters beyond ASCII as the C library writes them; what no question can hold is none."""
    assert wire(name) == written


def test_the_longest_name_fits_a_question() -> None:
    """One letter more does not (RFC 1035)."""
    assert len(LONGEST) == NAME_MAX
    assert len(wire(LONGEST) or b"") == NAME_MAX + 2
