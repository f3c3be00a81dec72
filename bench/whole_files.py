#!/usr/bin/python3
"""Whole files against llama.cpp's released library and against cp, in one run, on two threads.

    bench/whole_files.py [--types Q4_K_M,Q6_K,Q8_0] [--rounds 3] [--memory-only] [--folder DIR]

Makes a 307M-parameter Llama in BF16 with random weights (615 MB) as a Hugging Face folder, and an
8 GB one whose weights are a hole in a sparse file for the memory figures. Every figure is the best
of the rounds; the rounds of the two programs alternate, so that both see the same machine. Times
are of whole processes. Needs ../shared (oracle_quantize.py), Debian's python3-numpy, and
scripts/install-oracle.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = pathlib.Path(os.environ.get("QUERN_SHARED", ROOT.parent / "shared"))
ORACLE = pathlib.Path(os.environ.get(
    "QUERN_ORACLE", ROOT / "build/npm/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"))
QUERN = os.environ.get("QUERN", str(ROOT / "build/release/bin/quern"))
THREADS = "2"


def llama_shapes(hidden, layers, ff, vocab, kv):
    shapes = [("model.embed_tokens.weight", (vocab, hidden))]
    for i in range(layers):
        p = f"model.layers.{i}."
        shapes += [(p + "input_layernorm.weight", (hidden,)), (p + "mlp.down_proj.weight", (hidden, ff)),
                   (p + "mlp.gate_proj.weight", (ff, hidden)), (p + "mlp.up_proj.weight", (ff, hidden)),
                   (p + "post_attention_layernorm.weight", (hidden,)), (p + "self_attn.k_proj.weight", (kv, hidden)),
                   (p + "self_attn.o_proj.weight", (hidden, hidden)), (p + "self_attn.q_proj.weight", (hidden, hidden)),
                   (p + "self_attn.v_proj.weight", (kv, hidden))]
    return shapes + [("model.norm.weight", (hidden,)), ("lm_head.weight", (vocab, hidden))]


def make_folder(folder, hidden, layers, ff, heads, kv_heads, sparse):
    """A Hugging Face folder with the bundled model's tokenizer, its vocabulary padded to 32000."""
    vocab = 32000
    folder.mkdir(parents=True)
    for name in ("tokenizer.model", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(ROOT / "testdata/kjv-4m" / name, folder)
    config = json.loads((ROOT / "testdata/kjv-4m/config.json").read_text())
    config.update(hidden_size=hidden, num_hidden_layers=layers, intermediate_size=ff, num_attention_heads=heads,
                  num_key_value_heads=kv_heads, vocab_size=vocab)
    config.pop("head_dim", None)
    (folder / "config.json").write_text(json.dumps(config))
    shapes = llama_shapes(hidden, layers, ff, vocab, hidden // heads * kv_heads)
    header, offset = {}, 0
    for name, shape in shapes:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(1)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        if sparse:
            f.truncate(8 + len(text) + offset)
            return
        for _, shape in shapes:
            weights = (random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)).view(np.uint32)
            (weights >> 16).astype(np.uint16).tofile(f)


def in_child(action, *arguments, **options):
    """Runs a function in a process of its own: a process's peak memory is inherited by what it starts."""
    child = multiprocessing.Process(target=action, args=arguments, kwargs=options)
    child.start()
    child.join()
    if child.exitcode != 0:
        raise SystemExit("making the model failed")


def run(*command):
    """Seconds and peak resident MiB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{error.decode()}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def best(rounds, *actions):
    """Best time of each action, the rounds interleaved; peak of all rounds."""
    times, peaks = [float("inf")] * len(actions), [0.0] * len(actions)
    for _ in range(rounds):
        for i, action in enumerate(actions):
            seconds, peak = action()
            times[i], peaks[i] = min(times[i], seconds), max(peaks[i], peak)
    return list(zip(times, peaks))


def speed(folder, types, rounds):
    source, gguf = folder / "llama-307m", folder / "bf16.gguf"
    in_child(make_folder, source, 1024, 20, 2816, 16, 8, sparse=False)
    run(QUERN, "convert", source, "-o", gguf, "--threads", THREADS)
    numbers = {t["name"]: t["id"] for t in json.loads(
        subprocess.run([QUERN, "types", "--json"], capture_output=True, check=True).stdout)["file_types"]}
    out = folder / "out.gguf"
    (copy, _), = best(rounds, lambda: run("cp", gguf, out))
    print(f"cp of the {gguf.stat().st_size / 1e6:.0f} MB BF16 GGUF: {copy:.2f} s")
    print(f"{'type':8} {'quern s':>8} {'llama.cpp s':>12} {'ratio':>6} {'cp / quern':>11} {'peak MiB':>9}")
    for kind in types:
        ours, theirs = best(
            rounds,
            lambda: run(QUERN, "quantize", gguf, "-t", kind, "-o", out, "--force", "--threads", THREADS),
            lambda: run(sys.executable, SHARED / "conformance/oracle_quantize.py", ORACLE, gguf,
                        folder / "theirs.gguf", numbers[kind], "--threads", THREADS))
        same = subprocess.run(["cmp", "-s", out, folder / "theirs.gguf"]).returncode == 0
        print(f"{kind:8} {ours[0]:8.2f} {theirs[0]:12.2f} {theirs[0] / ours[0]:6.1f} {copy / ours[0]:11.2f} "
              f"{ours[1]:9.0f}  {'same bytes' if same else 'BYTES DIFFER'}", flush=True)
    weights = source / "model.safetensors"
    step, copied = best(
        rounds,
        lambda: run(QUERN, "convert", source, "-t", "Q4_K_M", "-o", out, "--force", "--threads", THREADS),
        lambda: run("cp", weights, folder / "copy"))
    print(f"HF folder -> Q4_K_M in one step: {step[0]:.2f} s, peak {step[1]:.0f} MiB; cp of the source: {copied[0]:.2f} s")


def memory(folder, types):
    source = folder / "llama-8gb"
    in_child(make_folder, source, 4096, 18, 11008, 32, 32, sparse=True)
    size = (source / "model.safetensors").stat().st_size
    for kind in types:
        seconds, peak = run(QUERN, "convert", source, "-t", kind, "-o", folder / "big.gguf", "--force", "--threads", THREADS)
        print(f"{size / 1e9:.1f} GB sparse source -> {kind}: peak {peak:.0f} MiB, {seconds:.1f} s", flush=True)
        (folder / "big.gguf").unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="Q4_K_M,Q6_K,Q8_0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--folder", help="where the models go (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        if not arguments.memory_only:
            speed(folder, arguments.types.split(","), arguments.rounds)
        memory(folder, ["Q4_K_M"])


if __name__ == "__main__":
    main()
