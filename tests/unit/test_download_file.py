"""Downloads from a server that cuts, stalls, lies and changes its mind."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from cascadeport.base.errors import CascadeportError
from cascadeport.download import Policy, Source, download_file, megabytes, transfer
from cascadeport.download.part import Part

from tests.helpers import web_server
from tests.helpers.web_server import Server

CONTENT = random.Random(1).randbytes(50_000)
OTHER = random.Random(2).randbytes(50_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BRISK = Policy(attempts=3, backoff_s=0, longest_wait_s=0, progress_bytes=1000)
HASTY = Policy(
    attempts=3, backoff_s=0, longest_wait_s=0, progress_bytes=1000, stall_s=0.3, stall_bytes=1000
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with web_server.running() as running:
        yield running


def source(*addresses: str, size: int | None = len(CONTENT)) -> Source:
    return Source("file.bin", addresses, SHA256, size)


def refused(wanted: Source, path: Path, policy: Policy = BRISK) -> str:
    """The error of a download that must fail, and leave no file of that name."""
    with pytest.raises(CascadeportError) as caught:
        download_file(wanted, path, policy=policy)
    assert not path.exists()
    return str(caught.value)


def test_a_file_gets_its_name_when_it_is_right(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(CONTENT))
    reported: list[tuple[int, int, str]] = []
    found = download_file(
        source(address),
        tmp_path / "deep" / "file.bin",
        policy=BRISK,
        progress=lambda *step: reported.append(step),
    )
    assert found.path.read_bytes() == CONTENT
    assert (found.sha256, found.size, found.address) == (SHA256, len(CONTENT), address)
    assert reported[-1] == (len(CONTENT), len(CONTENT), "file.bin")
    assert [path.name for path in found.path.parent.iterdir() if path.name[0] != "."] == [
        "file.bin"
    ]


def test_a_cut_is_resumed(server: Server, tmp_path: Path) -> None:
    address = server.serve(
        "/a",
        web_server.cut(CONTENT, 20_000, tag='"1"'),
        web_server.cut(CONTENT, 10_000, tag='"1"'),
        web_server.whole(CONTENT, tag='"1"'),
    )
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == [None, "bytes=20000-", "bytes=30000-"]
    assert server.log[-1][1]["If-Range"] == '"1"'


def test_what_arrived_outlives_the_run(server: Server, tmp_path: Path) -> None:
    server.serve("/a", web_server.cut(CONTENT, 20_000), web_server.status(500))
    address = server.serve("/a", web_server.cut(CONTENT, 20_000), web_server.status(503))
    text = refused(source(address), tmp_path / "f")
    assert "503" in text
    assert "the same command again: it resumes" in " ".join(text.split())
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:20_000]
    server.serve("/a", web_server.whole(CONTENT))
    server.log.clear()
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert server.ranges("/a") == ["bytes=20000-"]
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert not (tmp_path / "f.part").exists()


def test_ctrl_c_keeps_what_arrived(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(CONTENT))

    def interrupt(*step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_file(source(address), tmp_path / "f", policy=BRISK, progress=interrupt)
    arrived = (tmp_path / "f.part").stat().st_size
    assert 0 < arrived <= len(CONTENT)
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [found for found in server.ranges("/a")[1:] if found != f"bytes={arrived}-"] == []


def test_another_address_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path) -> None:
    first = server.serve("/a", web_server.cut(CONTENT, 20_000), web_server.status(404))
    second = server.serve("/b", web_server.whole(CONTENT))
    found = download_file(source(first, second), tmp_path / "f", policy=BRISK)
    assert found.address == second
    assert server.ranges("/b") == ["bytes=20000-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    address = server.serve(
        "/a",
        web_server.cut(CONTENT, 20_000, ranges=False),
        web_server.whole(CONTENT, ranges=False),
    )
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == [None, "bytes=20000-"]


def test_a_server_without_ranges_that_always_cuts_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    # Every try brings 20,000 bytes, and none of them is progress.
    address = server.serve("/a", web_server.cut(CONTENT, 20_000, ranges=False))
    assert "in a row" in refused(source(address), tmp_path / "f")
    assert len(server.log) == 1 + BRISK.attempts


def test_progress_resets_the_count_of_failures(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.cut(CONTENT, 5_000))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert len(server.log) == 10
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_change_between_two_parts_is_noticed_by_its_tag(server: Server, tmp_path: Path) -> None:
    address = server.serve(
        "/a", web_server.cut(OTHER, 20_000, tag='"old"'), web_server.whole(CONTENT, tag='"new"')
    )
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(server.log) == 2


def test_a_change_between_two_parts_is_noticed_by_the_digest(
    server: Server, tmp_path: Path
) -> None:
    address = server.serve("/a", web_server.cut(OTHER, 20_000), web_server.whole(CONTENT))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == [None, "bytes=20000-", None]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_wrong_bytes_are_thrown_away_and_the_next_address_is_tried(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    wrong = server.serve("/wrong", web_server.whole(OTHER))
    right = server.serve("/right", web_server.whole(CONTENT))
    found = download_file(source(wrong, right, size=size), tmp_path / "f", policy=BRISK)
    assert found.address == right
    assert found.path.read_bytes() == CONTENT
    assert server.ranges("/wrong") == [None]
    assert server.ranges("/right") == [None]


def test_wrong_bytes_are_reported_with_both_digests(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(OTHER))
    text = refused(source(address), tmp_path / "f")
    assert SHA256 in text
    assert hashlib.sha256(OTHER).hexdigest() in text
    assert not (tmp_path / "f.part").exists()


def test_wrong_bytes_in_parts_are_given_one_second_chance(server: Server, tmp_path: Path) -> None:
    cut, rest = web_server.cut(OTHER, 20_000), web_server.whole(OTHER)
    address = server.serve("/a", cut, rest, cut, rest)
    assert "another file" in refused(source(address), tmp_path / "f")
    assert server.ranges("/a") == [None, "bytes=20000-", None, "bytes=20000-"]


def test_silence_is_a_broken_transfer(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.stall(CONTENT, 20_000), web_server.whole(CONTENT))
    download_file(source(address), tmp_path / "f", policy=HASTY)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == [None, "bytes=20000-"]


def test_silence_for_ever_ends(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.stall(CONTENT, 0))
    assert "nothing came for 0.3 s" in refused(source(address), tmp_path / "f", HASTY)


def test_a_trickle_is_a_broken_transfer(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.trickle(CONTENT))
    text = refused(source(address), tmp_path / "f", HASTY)
    assert "bytes came in 0.3 s" in text


def test_a_length_that_is_too_long_does_not_matter(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.body(CONTENT, length=len(CONTENT) + 1000))
    download_file(source(address, size=None), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(server.log) == 1


def test_a_length_that_is_too_short_is_made_up_for(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.body(CONTENT, length=30_000), web_server.whole(CONTENT))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == [None, "bytes=30000-"]


def test_a_length_that_is_too_short_is_never_believed(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.body(CONTENT, length=30_000))
    assert "another file" in refused(source(address, size=None), tmp_path / "f")
    text = refused(source(address), tmp_path / "f")
    assert "ended after 30,000 of 50,000 bytes" in text


def test_more_bytes_than_the_file_has_are_not_taken(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(CONTENT + OTHER))
    assert "more than the 50,000 bytes" in refused(source(address), tmp_path / "f")
    assert not (tmp_path / "f.part").exists()


def test_chunks_without_a_length(server: Server, tmp_path: Path) -> None:
    address = server.serve(
        "/a", web_server.chunked(CONTENT[:20_000], ended=False), web_server.chunked(CONTENT)
    )
    download_file(source(address, size=None), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(server.log) == 2


def test_redirects_are_followed_and_their_loops_left(server: Server, tmp_path: Path) -> None:
    server.serve("/there", web_server.whole(CONTENT))
    address = server.serve("/a", web_server.status(302, Location="/there"))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    loop = server.serve("/loop", web_server.status(302, Location="/loop"))
    text = refused(source(loop), tmp_path / "g")
    assert "redirects more than 5 times" in text
    assert len(server.ranges("/loop")) <= 2 + BRISK.redirects


def test_a_redirect_out_of_the_web_is_not_followed(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    address = server.serve("/a", web_server.status(302, Location=secret.as_uri()))
    assert "cannot be used" in refused(source(address), tmp_path / "f")


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    hops = []
    for url in ("https://example.org/a", "http://example.org/a"):
        hop = requests.Response()
        hop.url, hop.status_code = url, 200
        hops.append(hop)
    hops[1].history = [hops[0]]
    with Part(tmp_path / "f") as part:
        with pytest.raises(transfer.PermanentError, match="from https to http"):
            transfer._check(hops[1], part, ranged=False)
        transfer._check(hops[0], part, ranged=False)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    refusing = server.serve("/a", web_server.status(code))
    right = server.serve("/b", web_server.whole(CONTENT))
    assert download_file(source(refusing, right), tmp_path / "f", policy=BRISK).address == right
    assert len(server.ranges("/a")) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_trouble_is_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    address = server.serve("/a", web_server.status(code), web_server.whole(CONTENT))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert len(server.log) == 2


def test_trouble_for_ever_ends(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.status(500))
    assert "3 times in a row" in refused(source(address), tmp_path / "f")
    assert len(server.log) == BRISK.attempts


def test_waits_double_and_the_server_may_ask_for_longer_ones(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cascadeport.download.file.time.sleep", waits.append)
    address = server.serve(
        "/a",
        web_server.status(500),
        web_server.status(500),
        web_server.status(500),
        web_server.status(503, Retry_After="20"),
        web_server.status(503, Retry_After="4000"),
        web_server.whole(CONTENT),
    )
    download_file(source(address), tmp_path / "f", policy=Policy(attempts=9))
    assert waits == [1, 2, 4, 20, 60]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(OTHER + OTHER)
    address = server.serve("/a", web_server.whole(CONTENT))
    download_file(source(address, size=None), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == ["bytes=100000-", None]


def test_another_range_than_asked_for_is_not_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:20_000])
    shifted = web_server.body(CONTENT[10_000:], 206, Content_Range="bytes 10000-49999/50000")
    address = server.serve("/a", shifted, web_server.whole(CONTENT))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges("/a") == ["bytes=20000-", None]


def test_a_whole_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    address = server.serve("/a", web_server.status(404))
    download_file(source(address), tmp_path / "f", policy=BRISK)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.log == []


def test_a_login_page_is_recognised(server: Server, tmp_path: Path) -> None:
    page = b"<html>Please log in</html>"
    marked = server.serve("/a", web_server.body(page, Content_Type="text/html; charset=utf-8"))
    unmarked = server.serve("/b", web_server.body(page))
    text = refused(source(marked, unmarked, size=None), tmp_path / "f")
    assert text.count("web page") == 2
    assert len(server.log) == 2


def test_a_compressed_transfer_is_refused(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.body(CONTENT, Content_Encoding="gzip"))
    assert "gzip" in refused(source(address), tmp_path / "f")


def test_no_connection_is_reported_for_each_address(server: Server, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{server.server_address[1]}/dead"
    gone = server.serve("/gone", web_server.status(404))
    server.serve("/dead", lambda request: None)
    text = refused(source(dead, gone), tmp_path / "f")
    assert "/dead: no answer" in text
    assert "/gone: the server says 404 Not Found" in text


def test_a_full_disk_is_reported_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.serve("/a", web_server.whole(CONTENT))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 49_999))
    text = refused(source(address), tmp_path / "f")
    assert "Not enough disk space for file.bin" in text
    assert not (tmp_path / "f.part").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 50_000))
    download_file(source(address), tmp_path / "f", policy=BRISK)


def test_a_file_that_is_here_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    found = download_file(source(server.serve("/a", web_server.whole(CONTENT))), tmp_path / "f")
    assert (found.address, found.sha256, server.log) == ("", SHA256, [])


def test_a_wrong_file_that_is_here_is_moved_aside(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OTHER)
    address = server.serve("/a", web_server.whole(CONTENT))
    assert download_file(source(address), tmp_path / "f", policy=BRISK).address == address
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert (tmp_path / "f.wrong").read_bytes() == OTHER


def test_two_runs_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(CONTENT))
    found: list[str] = []

    def run() -> None:
        found.append(download_file(source(address), tmp_path / "f", policy=BRISK).address)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["", "", "", address]
    assert len(server.log) == 1


def test_the_beginning_of_a_digest_is_enough(server: Server, tmp_path: Path) -> None:
    address = server.serve("/a", web_server.whole(CONTENT))
    found = download_file(Source("f", (address,), SHA256[:8]), tmp_path / "f", policy=BRISK)
    assert found.sha256 == SHA256
    wrong = "0" * 8
    assert wrong != SHA256[:8]
    refused(Source("f", (address,), wrong), tmp_path / "g")


@pytest.mark.parametrize("sha256", ["", "3b2f059", "3B2F0594", "g" * 8, "0" * 65])
def test_nothing_is_fetched_unchecked(sha256: str) -> None:
    with pytest.raises(CascadeportError, match="has no digest"):
        Source("f", ("https://example.org/f",), sha256)


@pytest.mark.parametrize("address", ["", "ftp://example.org/f", "f", "http://", "file://host/f"])
def test_addresses_are_checked(address: str) -> None:
    with pytest.raises(CascadeportError, match=r"not an address|no address"):
        Source("f", (address,), SHA256)


def test_progress_counts_megabytes() -> None:
    reported: list[tuple[int, int, str]] = []
    report = megabytes(lambda *step: reported.append(step))
    report(0, 2_500_000, "f")
    report(1_999_999, 2_500_000, "f")
    report(2_500_000, 2_500_000, "f")
    report(1_999_999, 0, "f")
    assert reported == [(0, 3, "f, MB"), (1, 3, "f, MB"), (3, 3, "f, MB"), (1, 2, "f, MB")]
