"""Greedy text of `quern generate` against llama.cpp's library, on F32 files of real and of random models
of every supported architecture.

llama.cpp decodes the prompt and then quern's tokens one by one, with its own key-value cache; each must
be the token that it finds most likely itself: as long as that holds, both make the same text. In a model
of random weights logits lie so close that rounding may decide: there a token passes too that llama.cpp
puts behind its best by less than TIE of the logits' spread (the bound of logits.py), and is counted.
The trained models must make llama.cpp's text without that.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np

from common import FAMILIES, SHARED, SOURCE, Report, build_family, need_shared, quern
from llama_oracle import Oracle, restart_with_library_path
from more_families import MORE, build_more

TIE = 1e-3
PROMPT = "In the beginning there was a little girl who said"
REAL = {"kjv-4m": SOURCE / "testdata/kjv-4m", "stories260K": SHARED / "fixtures/llama2c/stories260K.bin"}
RANDOM = FAMILIES + sorted(MORE)

need_shared()
restart_with_library_path()


def build(name, folder):
    if name in REAL:
        return REAL[name]
    if name in MORE:
        return build_more(name, folder)
    source = build_family(name, folder)
    if name == "phi2":  # 0.4 of its small heads is an odd number, which llama.cpp does not turn
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "partial_rotary_factor": 0.5}))
    return source


def follow(oracle, model, made):
    """How many tokens are llama.cpp's second best by less than TIE, and what differs otherwise."""
    near, tokens = 0, made["tokens"]
    for i, logits in enumerate(oracle.steps(model, made["prompt_tokens"], tokens)):
        best = int(logits.argmax())
        if i == len(tokens):
            return near, made["stopped"] == "end" and not oracle.ends(model, best) and f"llama.cpp goes on with {best}"
        behind = float(logits[best] - logits[tokens[i]]) / float(np.ptp(logits))
        if behind >= TIE:
            return near, f"token {i}: {tokens[i]} is {behind:.2e} of the spread behind llama.cpp's {best}"
        if oracle.ends(model, tokens[i]):
            return near, f"token {i}: {tokens[i]} ends the text"
        near += tokens[i] != best


def main():
    report, oracle = Report(), Oracle()
    for name in sys.argv[1:] or [*REAL, *RANDOM]:
        with tempfile.TemporaryDirectory() as folder:
            source, gguf = build(name, folder), pathlib.Path(folder) / "f32.gguf"
            quern("convert", source, "-t", "F32", "-o", gguf)
            count = 128 if name in REAL else 64
            made = json.loads(quern("generate", gguf, "-p", PROMPT, "-n", count, "--json", "-q"))
            model = oracle.open(gguf)
            report.check(f"{name} prompt", made["prompt_tokens"] == oracle.tokenize(model, PROMPT.encode()))
            near, difference = follow(oracle, model, made)
            oracle.close(model)
            print(f"{name:16} {len(made['tokens']):3} tokens, then {made['stopped']}; near ties: {near}")
            report.check(name, not difference and not (name in REAL and near), difference or f"{near} near ties")
    report.end()


main()
