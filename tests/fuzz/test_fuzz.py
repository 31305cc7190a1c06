"""The fuzzer, for as long as a suite has time for it. By hand it can go on for hours."""

import platform
import subprocess
import sys

import pytest

SECONDS = 20


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="atheris is published for Linux on x86-64 only; "
    "tests/unit/smpp/test_smpp_stream.py holds sessions to the same rules everywhere",
)
def test_nothing_is_found_in_twenty_seconds(tmp_path, request):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.fuzz_session",
            f"-max_total_time={SECONDS}",
            "-max_len=600",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    # It did fuzz: "Done 151880 runs in 21 second(s)".
    done = next(line.split() for line in run.stderr.splitlines() if line.startswith("Done "))
    assert int(done[1]) > 1000
