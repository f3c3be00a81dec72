#!/usr/bin/python3
"""Speed and memory of the reference inference: quern perplexity of a random 307M-parameter Llama.

    bench/perplexity.py [--types BF16,F32,Q8_0,Q4_K_M] [--windows 8] [--context 512] [--folder DIR]

Per type: tokens per second of the whole measurement, the part of it that is matrix products (timed
around every call of sgemm in the same run), and the peak memory. BF16 is the Hugging Face folder
itself, the others are GGUF files made from it. Two threads.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile

from whole_files import QUERN, THREADS, make_folder


def measure(model, ids, context, memory):
    command = [QUERN, "perplexity", str(model), "--token-ids", str(ids), "-c", str(context), "-q", "--json",
               "--threads", THREADS] + (["--memory", memory] if memory else [])
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return json.loads(output), usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="BF16,F32,Q8_0,Q4_K_M")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--memory", help="as quern's; default: quern's")
    parser.add_argument("--folder", help="keep the models here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.folder or temporary)
        source = folder / "llama-307m"
        if not source.exists():
            make_folder(source, 1024, 20, 2816, 16, 8, sparse=False)
        ids = folder / "ids"
        draw = random.Random(1)
        ids.write_text(" ".join(str(draw.randrange(3, 2048)) for _ in range(options.windows * options.context)))
        for kind in options.types.split(","):
            model = source
            if kind != "BF16":
                model = folder / f"{kind}.gguf"
                if not model.exists():
                    subprocess.run([QUERN, "convert", source, "-t", kind, "-o", model, "-q"], check=True)
            result, peak = measure(model, ids, options.context, options.memory)
            tokens = result["windows"] * result["context"]
            print(f"{kind:8} {tokens / result['seconds']:7.1f} tokens/s  matrix products "
                  f"{100 * result['product_seconds'] / result['seconds']:.1f} %  {result['batches']} batches  "
                  f"peak {peak:.0f} MiB", flush=True)


main()
