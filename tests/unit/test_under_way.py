"""One run of a job, however many ask for it."""

import asyncio

import pytest

from adapters.under_way import UnderWay
from tests.waiting import eventually


class Job:
    """Ends when it is told to."""

    def __init__(self):
        self.begun = 0
        self.end = asyncio.Event()
        self.result = "done"

    async def __call__(self):
        self.begun += 1
        await self.end.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def test_whoever_asks_meanwhile_gets_the_same_result():
    jobs, job = UnderWay(), Job()
    asking = [asyncio.ensure_future(jobs.join("key", job)) for _ in range(3)]
    await eventually(lambda: job.begun)
    job.end.set()
    assert await asyncio.gather(*asking) == ["done"] * 3
    assert job.begun == 1


async def test_another_key_is_another_job():
    jobs, job = UnderWay(), Job()
    job.end.set()
    assert await asyncio.gather(*(jobs.join(key, job) for key in ("a", "b"))) == ["done"] * 2
    assert job.begun == 2


async def test_whoever_asks_after_the_end_begins_anew():
    jobs, job = UnderWay(), Job()
    job.end.set()
    await jobs.join("key", job)
    await eventually(lambda: not jobs.all())
    await jobs.join("key", job)
    assert job.begun == 2


async def test_whoever_gives_up_leaves_the_job_to_the_others():
    jobs, job = UnderWay(), Job()
    impatient, patient = (asyncio.ensure_future(jobs.join("key", job)) for _ in range(2))
    await eventually(lambda: job.begun)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    job.end.set()
    assert await patient == "done"


async def test_a_job_that_everybody_gave_up_is_finished_and_joined():
    jobs, job = UnderWay(), Job()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await jobs.join("key", job)
    assert jobs.get("key") is not None
    again = asyncio.ensure_future(jobs.join("key", job))
    job.end.set()
    assert (await again, job.begun) == ("done", 1)


async def test_what_a_job_raises_everybody_hears_and_it_may_begin_again():
    jobs, job = UnderWay(), Job()
    job.result = OSError("the disk is full")
    job.end.set()
    told = await asyncio.gather(*(jobs.join("key", job) for _ in range(2)), return_exceptions=True)
    assert [str(each) for each in told] == ["the disk is full"] * 2
    await eventually(lambda: not jobs.all())
    job.result = "done"
    assert await jobs.join("key", job) == "done"
