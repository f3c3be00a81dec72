"""logits.py REFERENCE_LOGITS: logits of the reference inference against llama.cpp's library, for
every supported architecture, from the source folder and from the F32 GGUF. The bound is the largest
difference, as a part of the logits' spread (largest minus smallest)."""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from common import FAMILIES, Report, build_family, need_shared, quern
from llama_oracle import Oracle, restart_with_library_path
from more_families import MORE, build_more

BOUND = 1e-3
TOKENS = 64

need_shared()
restart_with_library_path()


def reference(model, ids):
    result = subprocess.run([sys.argv[1], str(model), *map(str, ids)], capture_output=True)
    if result.returncode != 0:
        raise SystemExit(f"{model}: {result.stderr.decode()}")
    return np.frombuffer(result.stdout, np.float32).reshape(len(ids), -1)


def build(name, folder):
    if name in MORE:
        return build_more(name, folder)
    source = build_family(name, folder)
    if name == "phi2":  # 0.4 of its small heads is an odd number, which llama.cpp does not turn
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "partial_rotary_factor": 0.5}))
    return source


def main():
    report, oracle = Report(), Oracle()
    wanted = sys.argv[2:] or FAMILIES + sorted(MORE)
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            source = build(name, folder)
            gguf = pathlib.Path(folder) / "f32.gguf"
            quern("convert", source, "-t", "F32", "-o", gguf)
            model = oracle.open(gguf)
            ids = np.random.default_rng(7).integers(3, 500, TOKENS).tolist()
            theirs = oracle.logits(model, ids)
            oracle.close(model)
            for what, path in (("source", source), ("gguf", gguf)):
                ours = reference(path, ids)
                worst = float(np.abs(ours - theirs).max() / (theirs.max() - theirs.min()))
                print(f"{name:12} {what:7} largest difference {worst:.2e} of the spread")
                report.check(f"{name} {what}", worst < BOUND, worst)
    report.end()


main()
