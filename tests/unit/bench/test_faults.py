"""The faults themselves: that they are the seed's, that they strike, and that they are mended."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from infra.bench import stepped_clock
from infra.bench.faults import Blow, Broken, Fault, carriers, clocks, disk, draw, processes, strike
from infra.bench.faults.carriers import CARRIER_FAULTS, suffer
from infra.bench.scenarios.chaos import FAULTS
from infra.bench.site import EVERYTHING
from tests.waiting import eventually

WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE lines (line)")
for line in sys.stdin:
    try:
        database.execute("INSERT INTO lines VALUES (?)", (line.strip(),))
        sys.stdout.write("written\\n")
    except sqlite3.Error as error:
        sys.stdout.write(f"{type(error).__name__}\\n")
    sys.stdout.flush()
"""
CLOCK = """
import datetime, sys, time
for line in sys.stdin:
    assert abs(datetime.datetime.now().timestamp() - time.time()) < 1
    sys.stdout.write(f"{time.time()} {time.monotonic()}\\n")
    sys.stdout.flush()
"""


class Talker:
    """A child that answers each line with a line."""

    def __init__(self, command):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def ask(self, line="?"):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


def test_a_seed_is_one_course_of_events():
    assert draw(7, 180, FAULTS) == draw(7, 180, FAULTS)
    assert draw(7, 180, FAULTS) != draw(8, 180, FAULTS)


def test_faults_leave_time_to_see_that_all_is_well_again():
    blows = draw(1, 180, FAULTS)
    assert len(blows) > 30
    assert all(0 < blow.at <= 170 for blow in blows)


def test_weight_is_how_often():
    async def nothing(site, chance, broken):
        return True

    often, rarely = Fault("often", nothing, weight=9), Fault("rarely", nothing)
    drawn = [blow.fault for blow in draw(1, 10_000, (often, rarely))]
    assert 6 < drawn.count(often) / drawn.count(rarely) < 13


def test_ten_runs_meet_every_fault():
    drawn = {blow.fault.name for seed in range(1, 11) for blow in draw(seed, 180, FAULTS)}
    assert drawn == {fault.name for fault in FAULTS}


async def test_what_is_not_possible_here_is_passed_over():
    async def never(site, chance, broken):
        pytest.fail("it is not possible")

    fault = Fault("never", never, possible=False)
    assert not await strike(SimpleNamespace(), [Blow(0.0, fault, 1)])


async def test_what_strikes_is_counted_and_what_meets_nothing_to_break_is_not():
    async def hits(site, chance, broken):
        await asyncio.sleep(0.01)
        return True

    async def misses(site, chance, broken):
        return False

    blows = [Blow(0.0, Fault("hits", hits), 1)] * 2 + [Blow(0.0, Fault("misses", misses), 1)]
    struck = await strike(SimpleNamespace(), blows)
    assert (struck["hits"], struck["misses"], struck.total()) == (2, 0, 2)


def test_of_two_faults_that_break_the_same_the_second_leaves_it_alone():
    broken = Broken()
    with broken.alone("rate", "status") as first:
        with broken.alone("delay") as other, broken.alone("status", "mute") as second:
            assert (first, other, second) == (True, True, False)
        with broken.alone("mute", "delay") as later:
            assert later
        with broken.alone("rate") as still:
            assert not still
    with broken.alone("rate", "status") as mended:
        assert mended


def test_every_fault_has_a_name_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="no process may set another's limits")
async def test_a_full_disk_refuses_writes_until_it_has_room(tmp_path):
    database = tmp_path / "journal.db"
    [fault] = [fault for fault in disk.FAULTS if fault.name == "pool: disk full"]
    with Talker([sys.executable, "-c", WRITER, str(database)]) as writer:
        assert writer.ask("before") == "written"
        site = SimpleNamespace(stack=SimpleNamespace(pid=lambda name: writer.process.pid))
        striking = asyncio.create_task(fault.strike(site, random.Random(1), Broken()))
        await eventually(lambda: writer.ask("meanwhile") == "OperationalError")
        assert writer.ask("refused") == "OperationalError"
        await striking
        assert writer.ask("after") == "written"
    lines = {line for (line,) in sqlite3.connect(database).execute("SELECT line FROM lines")}
    assert lines - {"meanwhile"} == {"before", "after"}


@pytest.mark.skipif(sys.platform != "linux", reason="no process may set another's limits")
async def test_a_process_that_is_gone_has_no_disk_to_fill():
    with Talker([sys.executable, "-c", ""]) as child:
        gone = child.process.pid
    site = SimpleNamespace(stack=SimpleNamespace(pid=lambda name: gone))
    for fault in disk.FAULTS:
        assert not await fault.strike(site, random.Random(1), Broken())


@pytest.mark.skipif(not clocks.POSSIBLE, reason="time-machine is not installed")
async def test_a_step_moves_the_time_of_day_and_no_timer(tmp_path, monkeypatch):
    (tmp_path / "told_time.py").write_text(CLOCK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    [stepped] = {tuple(command[:-1]) for command in clocks.commands(tmp_path).values()}
    true = Talker([sys.executable, "-c", CLOCK])
    with Talker([*stepped, "told_time"]) as child, true:

        def step():
            """How far the child's clock is from the true one; its timers never are."""
            told, expected = ([float(n) for n in each.ask().split()] for each in (child, true))
            assert told[1] == pytest.approx(expected[1], abs=0.5)
            return round(told[0] - expected[0])

        assert step() == 0
        [fault] = clocks.FAULTS
        site = SimpleNamespace(run=SimpleNamespace(directory=tmp_path))
        striking = asyncio.create_task(fault.strike(site, random.Random(1), Broken()))
        await eventually(lambda: step() == random.Random(1).choice(clocks.STEPS), within=5)
        await striking
        await eventually(lambda: step() == 0, within=5)


@pytest.mark.skipif(not clocks.POSSIBLE, reason="time-machine is not installed")
def test_a_clock_that_could_not_be_read_is_complained_of_and_followed_again(tmp_path, caplog):
    file, steps = tmp_path / "clock", []

    class Done(BaseException):
        """Ends what goes on as long as its process."""

    class Clock:
        def shift(self, seconds):
            steps.append(seconds)
            raise Done

    file.write_text("soon")
    threading.Timer(0.3, file.write_text, ["+5\n"]).start()
    with pytest.raises(Done):
        stepped_clock.follow(file, Clock())
    assert steps == [5.0]
    assert "the clock does not follow" in caplog.text


class Smsc:
    """Notes what is changed about it."""

    name = "first"

    def __init__(self):
        self.changes = []

    async def set(self, **options):
        self.changes.append(options)

    async def kill_links(self):
        return 0


async def test_a_carrier_suffers_two_faults_of_the_same_kind_one_at_a_time(monkeypatch):
    by_name = {fault.name: replace(fault, least=0.05, most=0.1) for fault in CARRIER_FAULTS}
    smsc, broken = Smsc(), Broken()

    async def has(name):
        return await suffer(smsc, by_name[name], random.Random(1), broken)

    assert await asyncio.gather(has("throttling"), has("queue full"), has("slow")) == [1, 0, 1]
    assert {"rate": 10, "throttle_status": "ESME_RMSGQFUL"} not in smsc.changes
    assert await has("queue full")
    assert smsc.changes[-1] == by_name["queue full"].healthy


async def test_no_link_that_is_up_is_no_link_that_is_cut():
    [cut] = [fault for fault in carriers.FAULTS if fault.name == "carrier: links cut"]
    site = SimpleNamespace(smscs={"first": Smsc()})
    assert not await cut.strike(site, random.Random(1), Broken())


class Stack:
    """Notes the signals that its components get."""

    def __init__(self, *down):
        self.struck = []
        self.down = down

    def pid(self, name):
        return None if name in self.down else 4711

    def kill(self, name, number=signal.SIGKILL):
        self.struck.append((name, number))


@pytest.mark.parametrize("name", EVERYTHING)
async def test_each_of_our_processes_is_killed(name):
    stack = Stack()
    [fault] = [fault for fault in processes.FAULTS if fault.name == f"{name}: kill -9"]
    assert await fault.strike(SimpleNamespace(stack=stack), random.Random(1), Broken())
    assert stack.struck == [(name, signal.SIGKILL)]


@pytest.mark.parametrize("how", ["kill -9", "SIGSTOP"])
async def test_a_process_that_is_down_is_not_struck(how):
    stack = Stack("pool")
    [fault] = [fault for fault in processes.FAULTS if fault.name == f"pool: {how}"]
    assert not await fault.strike(SimpleNamespace(stack=stack), random.Random(1), Broken())
    assert stack.struck == []


@pytest.mark.parametrize("name", EVERYTHING)
async def test_one_that_is_frozen_goes_on_however_the_run_ends(name):
    stack = Stack()
    [fault] = [fault for fault in processes.FAULTS if fault.name == f"{name}: SIGSTOP"]
    site, broken = SimpleNamespace(stack=stack), Broken()
    striking = asyncio.create_task(fault.strike(site, random.Random(1), broken))
    await eventually(lambda: stack.struck == [(name, signal.SIGSTOP)])
    assert not await fault.strike(site, random.Random(1), broken), "it stands still already"
    striking.cancel()
    await asyncio.wait([striking])
    assert stack.struck == [(name, signal.SIGSTOP), (name, signal.SIGCONT)]
