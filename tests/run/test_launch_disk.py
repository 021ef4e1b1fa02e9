"""A disk that is full: a real one of some kilobytes, where the system lets us make one."""

import os
import pathlib
import signal
import subprocess

import pytest
from tiny_game import rows_of, run, stopping, summary_of

pytestmark = pytest.mark.optimized

KIB = 1024


class Disk:
    """A file system in memory whose size can be changed."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.mkdir()

    def mount(self, *options):
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(self.folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def free(self, kib):
        """Makes so many KiB free."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        assert self.mount("remount", f"size={used // KIB + kib}k")


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    if not made.mount("size=10m"):
        pytest.skip("only root can make a file system of its own here")
    yield made
    subprocess.run(["umount", str(made.folder)], check=True)


def assert_same(out, undisturbed):
    assert rows_of(out) == rows_of(undisturbed)
    assert summary_of(out)["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


def require_few_words_and_the_same_end(disk, out, undisturbed, capfd):
    said = capfd.readouterr().err
    assert "No space left on device" in said and "Traceback" not in said
    assert said.count("\n") <= 5
    disk.free(10_000)
    assert run(out, "--resume") == 0
    assert_same(out, undisturbed)


@pytest.mark.parametrize("kib", [4, 20, 36, 60, 84])
def test_a_run_on_a_full_disk(disk, undisturbed, capfd, kib):
    """From no room at all to none for the report: exit 2, a few lines, and with room the same
    bits."""
    disk.free(kib)
    out = disk.folder / "run"
    assert run(out) == 2
    require_few_words_and_the_same_end(disk, out, undisturbed, capfd)


@pytest.mark.parametrize("kib", [0, 12, 28])
def test_a_resumed_run_on_a_full_disk(disk, undisturbed, capfd, kib):
    out = disk.folder / "run"
    assert run(out, experiment=stopping(signal.SIGTERM, 1)) == 143
    capfd.readouterr()
    disk.free(kib)
    assert run(out, "--resume") == 2
    require_few_words_and_the_same_end(disk, out, undisturbed, capfd)
