#!/usr/bin/python3
"""Several outputs from one read, and the memory of everything that writes a model.

    bench/outputs.py several [--rounds 3] [--disk 200] [--folder DIR]
    bench/outputs.py memory [--size GB] [--folder DIR]

`several`: three types in one run against three runs, on a 307M-parameter Llama in BF16 (615 MB),
with the bytes that each process read (rchar of /proc/PID/io). Once with the source in the page
cache, once evicted before every run, as a source is that is larger than memory, and once evicted on
a disk that reads --disk MB/s (blkio cgroup; left out where none may be made). `memory`: peak
resident memory of convert, quantize, split, merge, three outputs and a resumed run, on a sparse
source of about --size GB. Two threads. Times are of whole processes; every figure is the best of
the rounds. Needs Debian's python3-numpy.
"""
import argparse
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from whole_files import QUERN, THREADS, in_child, make_folder

LIMIT_MIB = 300


def start(*arguments):
    command = [QUERN, *map(str, arguments), "--threads", THREADS]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process, began):
    """Seconds, peak MiB and bytes read of a process that was started."""
    error = process.stderr.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # the counters outlive the process
    seconds = time.perf_counter() - began
    read = int(pathlib.Path(f"/proc/{process.pid}/io").read_text().split()[1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status != 0:
        raise SystemExit(f"{' '.join(process.args)} failed:\n{error.decode()}")
    return seconds, usage.ru_maxrss / 1024, read


def run(*arguments):
    began = time.perf_counter()
    return finish(start(*arguments), began)


def evict(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class SlowDisk:
    """A blkio cgroup whose processes read `megabytes` MB/s from the disk of `path`."""

    def __init__(self, path, megabytes):
        self.group = pathlib.Path(f"/sys/fs/cgroup/blkio/quern-{os.getpid()}")
        disk = os.stat(path).st_dev
        self.limit = f"{os.major(disk)}:{os.minor(disk)} {megabytes * 1000000}"

    def __enter__(self):
        try:
            self.group.mkdir()
            (self.group / "blkio.throttle.read_bps_device").write_text(self.limit)
            return self
        except OSError as error:
            print(f"no slow disk here: {error}")
            return None

    def __exit__(self, *_):
        if self.group.exists():
            (self.group.parent / "tasks").write_text(str(os.getpid()))
            self.group.rmdir()

    def enter(self):
        (self.group / "tasks").write_text(str(os.getpid()))


def several(folder, rounds, disk):
    source, gguf = folder / "llama-307m", folder / "bf16.gguf"
    in_child(make_folder, source, 1024, 20, 2816, 16, 8, sparse=False)
    run("convert", source, "-o", gguf)
    print(f"source: {gguf.stat().st_size / 1e6:.0f} MB BF16")
    print(f"{'types':24} {'source':8} {'one run s':>10} {'three runs s':>13} {'ratio':>6} {'read MB':>8} "
          f"{'three: MB':>10}")
    sets = ["Q8_0", "Q5_0", "Q4_0"], ["F16", "Q8_0", "BF16"], ["Q4_K_M", "Q6_K", "Q8_0"]
    for types, cold in ((types, cold) for types in sets for cold in (False, True)):
        compare(folder, gguf, types, "evicted" if cold else "cached", rounds)
    with SlowDisk(folder, disk) as slow:
        if slow:
            slow.enter()  # and all processes that are started from now on
            for types in sets:
                compare(folder, gguf, types, f"{disk} MB/s", rounds)


def compare(folder, gguf, types, where, rounds):
    """One run that writes all types against a run for each."""
    one, three, read_one, read_three = float("inf"), float("inf"), 0, 0

    def quantize(*arguments):
        if where != "cached":
            evict(gguf)
        return run("quantize", gguf, *arguments, "--force")

    for _ in range(rounds):
        together = [a for t in types for a in ("-t", t)]
        seconds, _, read_one = quantize(*together, "-o", folder / "{type}.gguf")
        one = min(one, seconds)
        runs = [quantize("-t", t, "-o", folder / f"single-{t}.gguf") for t in types]
        three, read_three = min(three, sum(r[0] for r in runs)), sum(r[2] for r in runs)
    for t in types:
        if subprocess.run(["cmp", folder / f"{t}.gguf", folder / f"single-{t}.gguf"]).returncode != 0:
            raise SystemExit("the bytes differ")
    print(f"{' '.join(types):24} {where:8} {one:10.2f} {three:13.2f} {one / three:6.2f} {read_one / 1e6:8.0f} "
          f"{read_three / 1e6:10.0f}", flush=True)


def memory(folder, size):
    source = folder / "llama-sparse"
    layers = max(1, round((size * 1e9 / 2 - 2 * 32000 * 4096) / (4 * 4096**2 + 3 * 4096 * 11008)))
    in_child(make_folder, source, 4096, layers, 11008, 32, 32, sparse=True)
    print(f"source: {(source / 'model.safetensors').stat().st_size / 1e9:.1f} GB, sparse")
    worst = 0

    def show(what, figures):
        nonlocal worst
        worst = max(worst, figures[1])
        print(f"{what:44} {figures[1]:6.0f} MiB {figures[0]:7.1f} s", flush=True)

    def remove(pattern):
        for path in folder.glob(pattern):
            path.unlink()

    whole = folder / "whole.gguf"
    show("convert to BF16", run("convert", source, "-o", whole))
    show("quantize to Q8_0", run("quantize", whole, "-t", "Q8_0", "-o", folder / "q8.gguf"))
    remove("q8.gguf")
    began = time.perf_counter()
    process = start("convert", source, "-t", "Q8_0", "-o", folder / "resumed.gguf")
    while process.poll() is None and not big(folder / "resumed.gguf.partial.journal", 48 + 40 * 1000):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"{'killed after':44} {'':10} {time.perf_counter() - began:7.1f} s")
    show("convert to Q8_0 --resume", run("convert", source, "-t", "Q8_0", "-o", folder / "resumed.gguf", "--resume"))
    remove("resumed.gguf*")
    show("split", run("split", whole, folder / "part", "--split-max-size", "2G"))
    remove("whole.gguf")
    show("merge", run("merge", next(folder.glob("part-00001-*.gguf")), folder / "merged.gguf"))
    remove("part-*.gguf")
    show("quantize to Q8_0, Q4_0 and Q5_0 at once", run(
        "quantize", folder / "merged.gguf", "-t", "Q8_0", "-t", "Q4_0", "-t", "Q5_0", "-o", folder / "{type}.gguf"))
    if worst > LIMIT_MIB:
        raise SystemExit(f"{worst:.0f} MiB are more than {LIMIT_MIB}")


def big(path, size):
    return path.exists() and path.stat().st_size > size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["several", "memory"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=float, default=8)
    parser.add_argument("--disk", type=int, default=200)
    parser.add_argument("--folder", help="where the models go (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        if arguments.what == "several":
            several(pathlib.Path(name), arguments.rounds, arguments.disk)
        else:
            memory(pathlib.Path(name), arguments.size)


if __name__ == "__main__":
    main()
