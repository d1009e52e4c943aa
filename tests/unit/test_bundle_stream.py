"""The streaming pass: order, bounds, and an end whatever fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.errors import BundleError, Interrupted
from bundle.group import Inferred
from bundle.handover import Handover
from bundle.job import Job
from bundle.picture import SkippedPicture
from bundle.runners import Outputs
from bundle.stream import Stream
from tests.helpers import bundle_jobs as jobs

COUNT = 40


def many(tmp_path: Path, **changes: Any) -> Job:
    """A job over forty pictures, whose sizes differ and so does the time to decode them."""
    sizes = [(16 + 37 * n % 400, 16 + 91 * n % 300) for n in range(COUNT)]
    items = jobs.write_pictures(tmp_path / "pictures", sizes)
    return jobs.checked(jobs.job(tmp_path / "pictures", items, **changes))


def run(
    job: Job,
    answer: Callable[[np.ndarray], Outputs] = jobs.nothing,
    finish: Callable[[Inferred | SkippedPicture], None] | None = None,
) -> list[int]:
    """The ids in the order in which they were finished."""
    order: list[int] = []

    def keep(result: Inferred | SkippedPicture) -> None:
        order.append(result.picture.id)
        if finish is not None:
            finish(result)

    with Stream(job, lambda job: jobs.Scripted(answer)) as stream:
        stream.run(job.pictures, keep)
    return order


@pytest.mark.parametrize(("workers", "queue"), [(1, 1), (1, 4), (4, 1), (4, 8)])
def test_results_come_in_the_jobs_order(tmp_path: Path, workers: int, queue: int) -> None:
    job = many(tmp_path, stream={"workers": workers, "queue": queue})
    assert run(job) == [picture.id for picture in job.pictures]


def test_every_picture_meets_its_own_pixels(tmp_path: Path) -> None:
    """A canvas given back too early would show in the input of another picture."""
    job = many(tmp_path, stream={"workers": 4, "queue": 4})
    sums: list[float] = []

    def answer(batch: np.ndarray) -> Outputs:
        before = float(batch.sum())
        time.sleep(0.002)
        assert float(batch.sum()) == before
        sums.append(before)
        return jobs.nothing(batch)

    run(job, answer)
    quiet: list[float] = []
    alone = many(tmp_path, stream={"workers": 1, "queue": 1})
    run(alone, lambda batch: (quiet.append(float(batch.sum())), jobs.nothing(batch))[1])
    assert sums == quiet


def test_the_network_is_loaded_used_and_closed_in_one_thread(tmp_path: Path) -> None:
    job = many(tmp_path)
    threads: set[int] = set()

    class Watched(jobs.Scripted):
        def close(self) -> None:
            threads.add(threading.get_ident())
            super().close()

    def answer(batch: np.ndarray) -> Outputs:
        threads.add(threading.get_ident())
        return jobs.nothing(batch)

    def load(job: Job) -> Watched:
        threads.add(threading.get_ident())
        return Watched(answer)

    with Stream(job, load) as stream:
        stream.run(job.pictures, lambda result: None)
        runner = stream.runner
    assert runner.closed
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_no_more_pictures_are_in_flight_than_there_are_canvases(tmp_path: Path) -> None:
    """With a stuck network, decoding stops by itself."""
    job = many(tmp_path, stream={"workers": 2, "queue": 3})
    begun = threading.Event()
    go_on = threading.Event()
    taken: list[int] = []

    def answer(batch: np.ndarray) -> Outputs:
        begun.set()
        assert go_on.wait(60)
        return jobs.nothing(batch)

    def pictures() -> Any:
        for picture in job.pictures:
            taken.append(picture.id)
            yield picture

    with Stream(job, lambda job: jobs.Scripted(answer)) as stream:
        thread = threading.Thread(target=stream.run, args=(pictures(), lambda result: None))
        thread.start()
        assert begun.wait(60)
        thread.join(0.3)
        stuck = len(taken)
        go_on.set()
        thread.join(60)
    # What is in flight (workers + queue + 2), and the one that waits for room.
    assert stuck <= 2 + 3 + 2 + 1
    assert len(taken) == COUNT


def failing_at(number: int, failure: Exception) -> Callable[[Any], Any]:
    """Fails when it is called for the `number`th time."""
    calls = [0]

    def fail(argument: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise failure
        return jobs.nothing(argument)

    return fail


def test_a_runner_that_raises_stops_everything(tmp_path: Path) -> None:
    job = many(tmp_path, stream={"workers": 4, "queue": 8})
    failure = BundleError("the device is gone", "device 0", "reset it")
    before = threading.active_count()
    with pytest.raises(BundleError) as caught:
        run(job, failing_at(5, failure))
    assert caught.value is failure
    assert threading.active_count() == before


def test_a_conclusion_that_raises_stops_everything(tmp_path: Path) -> None:
    job = many(tmp_path)
    ran: list[int] = []

    def answer(batch: np.ndarray) -> Outputs:
        ran.append(1)
        return jobs.nothing(batch)

    failure = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left") as caught:
        run(job, answer, failing_at(3, failure))
    assert caught.value is failure
    assert len(ran) < COUNT


def test_the_first_failure_is_reported_not_those_that_follow(tmp_path: Path) -> None:
    job = many(tmp_path, stream={"workers": 4, "queue": 8})
    for picture in job.pictures[5:]:
        Path(job.path(picture)).write_bytes(b"")
    for _ in range(5):
        with pytest.raises(BundleError, match="is empty"):
            run(job)


def test_a_network_that_cannot_be_loaded(tmp_path: Path) -> None:
    def load(job: Job) -> jobs.Scripted:
        raise BundleError("no such device")

    with pytest.raises(BundleError, match="no such device"), Stream(many(tmp_path), load):
        pass


def test_bad_pictures_are_skipped_in_their_place(tmp_path: Path) -> None:
    job = many(tmp_path, keep_going=True, stream={"workers": 3, "queue": 2})
    bad = {job.pictures[n].id for n in (0, 1, 17, COUNT - 1)}
    for picture in job.pictures:
        if picture.id in bad:
            Path(job.path(picture)).write_bytes(b"")
    skipped: set[int] = set()

    def finish(result: Inferred | SkippedPicture) -> None:
        if isinstance(result, SkippedPicture):
            skipped.add(result.picture.id)
            assert "is empty" in result.reason

    assert run(job, finish=finish) == [picture.id for picture in job.pictures]
    assert skipped == bad


def test_an_interruption_does_not_wait_for_the_network(tmp_path: Path) -> None:
    job = many(tmp_path)
    inside = threading.Event()
    go_on = threading.Event()

    def answer(batch: np.ndarray) -> Outputs:
        inside.set()
        assert go_on.wait(60)
        return jobs.nothing(batch)

    def pictures() -> Any:
        yield job.pictures[0]
        assert inside.wait(60)
        raise Interrupted(2)

    with pytest.raises(Interrupted), Stream(job, lambda job: jobs.Scripted(answer)) as stream:
        stream.run(pictures(), lambda result: None)
    assert not go_on.is_set()  # we are here, and the network is still at its first picture
    go_on.set()


def test_the_thread_of_a_slow_network_hands_its_results_to_another(tmp_path: Path) -> None:
    """And wakes nobody itself, but for the last picture; see bundle/handover.py."""
    handover = Handover()
    by: list[str] = []
    futures: list[Future[int]] = [Future() for _ in range(4)]
    for future in futures:
        future.add_done_callback(lambda done: by.append(threading.current_thread().name))
    handover.give(futures[0], 0, 1.0)
    handover.give(futures[1], 1, None)
    assert by == [threading.current_thread().name] * 2
    handover.give(futures[2], 2, 50.0)
    assert futures[2].result(30) == 2
    assert by[2:] == ["handover"]
    handover.close()
    handover.give(futures[3], 3, 50.0)
    assert futures[3].result(0) == 3


def test_a_slow_network_s_results_arrive_in_order_and_all(tmp_path: Path) -> None:
    job = many(tmp_path)
    pictures = job.pictures[:12]

    def answer(batch: np.ndarray) -> Outputs:
        time.sleep(0.012)
        return jobs.nothing(batch)._replace(device_ms=12.0)

    order: list[int] = []
    with Stream(job, lambda job: jobs.Scripted(answer)) as stream:
        stream.run(pictures, lambda result: order.append(result.picture.id))
    assert order == [picture.id for picture in pictures]
