"""Which URLs and headers a guest may use: decided before anything is looked up."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL as Yarl

from adapters.wasm.contract import HttpError
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.rules import AllowList, Target, kept
from tests.unit.wasm.egress.conftest import HOST, URL

HOSTS = [HOST, "*.tenant.example.com", "eu.example.com:8443", "*.ports.example.com:8443"]
ALLOWED = AllowList(HOSTS)

GOOD = {
    f"https://{HOST}": Target(HOST, 443, "/"),
    f"https://{HOST}/": Target(HOST, 443, "/"),
    f"https://{HOST}/a/b?c=d&e=%2F": Target(HOST, 443, "/a/b?c=d&e=%2F"),
    f"https://{HOST}?a=b": Target(HOST, 443, "/?a=b"),
    f"https://{HOST}:443/a": Target(HOST, 443, "/a"),
    f"HTTPS://{HOST.upper()}/A": Target(HOST, 443, "/A"),
    f"https://{HOST}/a@b:c/../d": Target(HOST, 443, "/a@b:c/../d"),
    f"https://{HOST}/bot{{{{secret:api_key}}}}/send": Target(
        HOST, 443, "/bot{{secret:api_key}}/send"
    ),
    "https://a.tenant.example.com/": Target("a.tenant.example.com", 443, "/"),
    "https://a.b-c.tenant.example.com/": Target("a.b-c.tenant.example.com", 443, "/"),
    "https://eu.example.com:8443/": Target("eu.example.com", 8443, "/"),
    "https://x.ports.example.com:8443/": Target("x.ports.example.com", 8443, "/"),
}


@pytest.mark.parametrize(("url", "target"), GOOD.items())
def test_what_may_be_called(url, target):
    assert ALLOWED.target(url) == target


SCHEME = "only https:// is called"
USER = "a URL has no user and no password in it: use a header"
MALFORMED = "the URL is malformed, or has characters that have to be percent-encoded"
ENCODE = "the URL has characters that have to be percent-encoded"
NAME = "an address is no host: hosts are called by name"
BAD = {
    "": SCHEME,
    HOST: SCHEME,
    f"//{HOST}/": SCHEME,
    f"http://{HOST}/": SCHEME,
    f"ftp://{HOST}/": SCHEME,
    "file:///etc/passwd": SCHEME,
    f"javascript:https://{HOST}": SCHEME,
    f" https://{HOST}/": SCHEME,
    f"\nhttps://{HOST}/": SCHEME,
    f"https:/{HOST}/": SCHEME,
    f"https:\\\\{HOST}/": SCHEME,
    "https://": MALFORMED,
    "https:///": MALFORMED,
    f"https://{HOST}/ ": MALFORMED,
    f"https://{HOST}/\r\nX: y": MALFORMED,
    f"https://{HOST}/\t": MALFORMED,
    f"https://{HOST}/\0": MALFORMED,
    f"https://{HOST}/é": MALFORMED,
    f"https://{HOST}\\@evil.example.com/": USER,
    f"https://{HOST}\\.evil.example.com/": MALFORMED,
    f"https://{HOST}/a\\b": ENCODE,
    f"https://{HOST}/#fragment": ENCODE,
    f'https://{HOST}/"': ENCODE,
    f"https://{HOST}/<": ENCODE,
    f"https://{HOST}#@evil.example.com/": MALFORMED,
    f"https://user@{HOST}/": USER,
    f"https://user:password@{HOST}/": USER,
    f"https://{HOST}@evil.example.com/": USER,
    f"https://{HOST}:443@evil.example.com/": USER,
    f"https://@{HOST}/": USER,
    f"https://{HOST}:/": MALFORMED,
    f"https://{HOST}:x/": MALFORMED,
    f"https://{HOST}:-1/": MALFORMED,
    f"https://{HOST}:443:443/": MALFORMED,
    f"https://{HOST}%2eevil.example.com/": MALFORMED,
    f"https://{HOST}\u3002evil.example.com/": MALFORMED,
    "https://\uff41pi.example.com/": MALFORMED,
    f"https://{HOST}\u200b/": MALFORMED,
    "https://[::1]/": NAME,
    "https://[::ffff:127.0.0.1]/": NAME,
    "https://[::ffff:7f00:1]:443/": NAME,
    "https://[64:ff9b::7f00:1]/": NAME,
    "https://[fe80::1%25eth0]/": NAME,
    "https://::1/": MALFORMED,
    f"https://{HOST}/{'a' * 8192}": "a URL has at most 8,192 characters",
}


@pytest.mark.parametrize(("url", "why"), BAD.items())
def test_what_may_not_be_called(url, why):
    with pytest.raises(HttpFault) as caught:
        ALLOWED.target(url)
    assert caught.value.told() == HttpError("forbidden", why, maybe_sent=False)


ADDRESSES = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1"),
    *("0X7F.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0", "0x0", "10.0.0.1", "172.16.0.1"),
    *("192.168.1.1", "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376"),
    *("100.64.0.1", "8.8.8.8", "1.1", "127.0.0.0x1", "1e100"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_no_host_in_any_spelling(address):
    # Not even when somebody got it into a list of hosts.
    for allowed in (ALLOWED, AllowList([address, f"*.{address}"])):
        with pytest.raises(HttpFault, match=r"is an address: hosts are called by name"):
            allowed.target(f"https://{address}/")


OTHER_HOSTS = [
    *("example.com", "evil.com", "localhost", "metadata", "metadata.google.internal"),
    *(f"x.{HOST}", f"{HOST}.evil.com", f"{HOST}.", f"x{HOST}", HOST[1:], f"{HOST}:80"),
    *(f"{HOST}:0", f"{HOST}:8443", f"{HOST}:65536", f"{HOST}:4430"),
    *("tenant.example.com", ".tenant.example.com", "a..tenant.example.com", "..example.com"),
    *("xtenant.example.com", "a.tenant.example.com.", "a.tenant.example.com:8443"),
    *("eu.example.com", "eu.example.com:443", "x.ports.example.com", "a.eu.example.com:8443"),
]


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_hosts_that_the_manifest_does_not_name(host):
    with pytest.raises(HttpFault, match=r"is not among the manifest's hosts"):
        ALLOWED.target(f"https://{host}/")


@given(st.text(alphabet=st.sampled_from("htps:/@.#?[]\\%0127x*a\t\n "), max_size=30))
def test_every_reader_of_an_allowed_url_finds_the_same_host(text):
    for url in (f"https://{HOST}{text}", f"https://{text}{HOST}", f"https://{text}", text):
        try:
            target = ALLOWED.target(url)
        except HttpFault:
            continue
        assert urlsplit(url).hostname == target.host
        assert Yarl(url).host == target.host


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ([("Content-Type", "text/plain")], [("content-type", "text/plain")]),
        ([("X-A", "1"), ("x-a", "2")], [("x-a", "1"), ("x-a", "2")]),
        ([("x", "")], [("x", "")]),
        ([("x", "a\tb æ")], [("x", "a\tb æ")]),
        ([("Host", "evil.example.com")], []),
        ([("CONTENT-LENGTH", "0"), ("Transfer-Encoding", "chunked")], []),
        ([("connection", "upgrade"), ("Upgrade", "websocket"), ("TE", "trailers")], []),
        ([("Proxy-Authorization", "x"), ("proxy-connection", "x"), ("Keep-Alive", "1")], []),
        ([("Expect", "100-continue"), ("Accept-Encoding", "br"), ("Trailer", "x")], []),
    ],
)
def test_headers_that_are_kept(given, left):
    assert kept(given) == left


@pytest.mark.parametrize(
    "header",
    [
        ("", "x"),
        ("x y", "1"),
        ("x:", "1"),
        ("x\r\ny", "1"),
        ("\u017fost", "1"),
        ("é", "1"),
        ("x" * 129, "1"),
        (":path", "/"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", "a\x1fb"),
        ("x", "a\x7fb"),
        ("x", "\u010a"),
        ("x", "\u2028"),
    ],
)
def test_headers_that_are_refused(header):
    with pytest.raises(HttpFault) as caught:
        kept([("a", "b"), header])
    assert caught.value.kind == "forbidden"


async def test_nothing_is_looked_up_for_what_may_not_be_called(send, provider):
    for url in (*BAD, "https://127.0.0.1/", f"https://{HOST}.evil.com/"):
        refused = await send(url)
        assert (refused.kind, refused.maybe_sent) == ("forbidden", False)
    refused = await send(URL, headers=[("x", "a\r\nb: c")])
    assert (refused.kind, refused.maybe_sent) == ("forbidden", False)
    assert provider.connections == 0
