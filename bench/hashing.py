#!/usr/bin/python3
"""Speed of `quern verify` and `quern hash` against `openssl dgst -sha256` and coreutils' sha256sum.

    bench/hashing.py [--size MB] [--files 4] [--rounds 5] [--folder DIR]

Makes random files with a SHA256SUMS beside them, all in the page cache, and a safetensors file of
the same bytes. The peers hash one file; quern all of them on two threads. Rates are bytes per
second of whole processes, best of the rounds, which alternate so that all see the same machine;
the last column is what a core does (bytes per second of CPU time), which other load disturbs less.
"""
import argparse
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
QUERN = os.environ.get("QUERN", str(ROOT / "build/release/bin/quern"))
THREADS = "2"


def make_files(folder, count, size):
    """COUNT files of SIZE bytes with their list; one safetensors file with as many tensors."""
    folder.mkdir(parents=True)
    lines, header = [], {}
    with open(folder / "model.safetensors", "wb") as model:
        for i in range(count):
            header[f"t{i}"] = {"dtype": "F16", "shape": [size // 2], "data_offsets": [i * size, (i + 1) * size]}
        text = json.dumps(header).encode()
        model.write(struct.pack("<Q", len(text)) + text)
        for i in range(count):
            # Bytes below 0x40 at every place: finite F16 weights, should they be looked at.
            block = bytes(b & 0x3f for b in os.urandom(1 << 20))
            digest = hashlib.sha256()
            with open(folder / f"file{i}", "wb") as file:
                for _ in range(size >> 20):
                    file.write(block)
                    digest.update(block)
                    model.write(block)
            lines.append(f"{digest.hexdigest()}  file{i}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))


def rate(command, size):
    """(bytes per second, bytes per second of CPU time) of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = status
    if status != 0:
        raise SystemExit(f"{command} failed")
    return size / seconds, size / (usage.ru_utime + usage.ru_stime)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="MiB per file")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = pathlib.Path(temporary) / "files"
        size = arguments.size << 20
        make_files(folder, arguments.files, size)
        everything = size * arguments.files
        runs = {
            "sha256sum, one file": (["sha256sum", folder / "file0"], size),
            "openssl dgst -sha256, one file": (["openssl", "dgst", "-sha256", folder / "file0"], size),
            f"quern verify SHA256SUMS, {arguments.files} files": (
                [QUERN, "verify", "-q", "--threads", THREADS, folder / "SHA256SUMS"], everything),
            "quern hash, one model": (
                [QUERN, "hash", "-q", "--threads", THREADS, folder / "model.safetensors"], everything),
            "quern verify, NaN scan of one model": (
                [QUERN, "verify", "-q", "--threads", THREADS, folder / "model.safetensors"], everything),
        }
        best = {name: (0, 0) for name in runs}
        for _ in range(arguments.rounds):
            for name, (command, work) in runs.items():
                best[name] = tuple(map(max, best[name], rate(command, work)))
        openssl, coreutils = (best[name][0] for name in ("openssl dgst -sha256, one file", "sha256sum, one file"))
        print(f"{'':34} {'GB/s':>6} {'x openssl':>10} {'x sha256sum':>12} {'GB/s per core':>14}")
        for name, (wall, cpu) in best.items():
            print(f"{name:34} {wall / 1e9:6.2f} {wall / openssl:10.2f} {wall / coreutils:12.2f} {cpu / 1e9:14.2f}")


if __name__ == "__main__":
    main()
