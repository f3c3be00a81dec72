"""Whole files: quern quantize against llama_model_quantize of the released library, header included, for every file type with
and without an importance matrix, and for every option. What llama-quantize itself adds (the quantize.imatrix.* keys) is given
to the library as overrides, as llama-quantize does.

    oracle_files.py            a part that takes about two minutes
    oracle_files.py --all      every file type on every family (or those named: --all llama2 gpt2), hours of llama.cpp's time
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from common import FAMILIES, ORACLE, QUERN, Report, build_family, need_oracle, need_shared, quern
from llama_quantize import Oracle, find_libraries, read_legacy_imatrix
from recipe_models import FILE_TYPES

# Types of which llama.cpp quantizes less than a million weights per second.
SLOW = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"}
CHUNKS = 7
# What is tried without --all: family, file types, with importance matrix.
QUICK = [("llama2", ["F16", "F32", "Q4_0", "Q5_1", "Q8_0", "Q3_K_M", "Q4_K_M", "Q5_K_S", "TQ1_0", "Q2_0"], False),
         ("llama2", ["Q4_1", "Q5_0", "Q2_K_S", "Q4_K_M", "Q6_K", "IQ4_XS", "IQ2_XXS"], True),
         ("mixtral", ["BF16", "Q2_K", "Q4_K_S", "MXFP4_MOE"], False),
         ("mixtral", ["Q4_0", "Q3_K_L", "Q4_K_M", "IQ4_NL", "IQ3_XXS"], True),
         ("qwen3", ["Q4_K_M", "TQ2_0"], False), ("qwen3", ["Q3_K_S", "Q5_K_M"], True),
         ("gpt2", ["Q4_K_M", "Q1_0"], False), ("gpt2", ["Q5_0", "Q4_K_M"], True)]
# Options: file type, with importance matrix, arguments of quern, the same for the library. ARCH stands for the architecture.
OPTIONS = [
    ("Q4_K_M", False, ["--pure"], {"pure": True}),
    ("Q4_K_M", True, ["--leave-output-tensor"], {"leave_output_tensor": True}),
    ("Q4_K_S", True, ["--output-tensor-type", "Q8_0", "--token-embedding-type", "Q4_0"],
     {"output_tensor_type": "Q8_0", "token_embedding_type": "Q4_0"}),
    ("Q4_K_M", False, ["--tensor-type", "attn_v=q8_0", "--tensor-type", "blk\\.1.*up=Q3_K"],
     {"tensor_types": [["attn_v", "Q8_0"], ["blk\\.1.*up", "Q3_K"]]}),
    ("Q8_0", False, ["--override-kv", "a.int=int:7", "--override-kv", "a.float=float:0.1", "--override-kv", "a.bool=bool:true",
                     "--override-kv", "a.text=str:x = y: z", "--override-kv", "general.name=str:renamed",
                     "--override-kv", "a.large=int:4294967295"],
     {"override_kv": ["a.int=int:7", "a.float=float:0.1", "a.bool=bool:true", "a.text=str:x = y: z", "general.name=str:renamed",
                      "a.large=int:4294967295"]}),
    # The recipe sees overridden hyperparameters.
    ("Q4_K_M", True, ["--override-kv", "ARCH.block_count=int:16", "--override-kv", "general.file_type=int:3"],
     {"override_kv": ["ARCH.block_count=int:16", "general.file_type=int:3"]}),
    ("Q4_K_M", False, ["--prune-layers", "1"], {"prune_layers": [1]}),
    ("Q4_K_M", True, ["--prune-layers", "0"], {"prune_layers": [0]}),
    ("COPY", False, ["--prune-layers", "0", "--override-kv", "general.name=str:pruned"],
     {"prune_layers": [0], "override_kv": ["general.name=str:pruned"]}),
]


def write_imatrix(path, model):
    """A legacy importance matrix for all matrices of a GGUF but the token embedding: a row of values per expert."""
    import numpy

    random = numpy.random.default_rng(20)
    entries = [t for t in json.loads(quern("inspect", model, "--tensors", "--json"))["tensors"]
               if len(t["shape"]) > 1 and t["name"].endswith("weight") and "token_embd" not in t["name"]]
    with open(path, "wb") as file:
        def number(value): file.write(int(value).to_bytes(4, "little"))
        def text(value): number(len(value.encode())); file.write(value.encode())
        number(len(entries))
        for i, tensor in enumerate(entries):
            text(tensor["name"])
            count = tensor["shape"][-1] * (tensor["shape"][-3] if len(tensor["shape"]) > 2 else 1)
            number(i % 50)  # calls
            number(count)
            file.write(random.lognormal(0, 2, count).astype("<f4").tobytes())
        number(CHUNKS)
        text("calibration.txt")
    return len(entries)


class Family:
    def __init__(self, name, folder, oracle, report):
        self.name, self.oracle, self.report = name, oracle, report
        self.converted, self.theirs, self.ours, self.imatrix = (
            pathlib.Path(folder) / f for f in ("auto.gguf", "theirs.gguf", "ours.gguf", "imatrix.dat"))
        self.source = build_family(name, folder)
        quern("convert", self.source, "-o", self.converted, "--force")
        count = write_imatrix(self.imatrix, self.converted)
        self.values = read_legacy_imatrix(self.imatrix)
        self.keys = [f"quantize.imatrix.file=str:{self.imatrix}", "quantize.imatrix.dataset=str:calibration.txt",
                     f"quantize.imatrix.entries_count=int:{count}", f"quantize.imatrix.chunks_count=int:{CHUNKS}"]

    def compare(self, file_type, imatrix, arguments=(), options={}, commands=("quantize",)):
        what = " ".join([self.name, file_type, "with imatrix" if imatrix else "plain", *arguments])
        begin = time.monotonic()
        options = dict(options)
        if imatrix: options["override_kv"] = options.get("override_kv", []) + self.keys
        error = self.oracle.quantize_apart(self.converted, self.theirs, file_type, imatrix=self.values if imatrix else None,
                                           options=options, threads=2)
        times = [time.monotonic() - begin]
        for command in commands:  # in two steps and in one
            begin = time.monotonic()
            run = subprocess.run(
                [QUERN, command, self.converted if command == "quantize" else self.source, "-t", file_type, "-o", self.ours, "--force",
                 "-q", *arguments, *(["--imatrix", self.imatrix] if imatrix else [])], capture_output=True, text=True)
            times.append(time.monotonic() - begin)
            if error:  # llama.cpp refuses (a row size without a fall-back, no importance matrix): so must we
                self.report.check(f"{what} {command} refused", run.returncode != 0, error)
            else:
                self.report.check(f"{what} {command}", run.returncode == 0 and self.theirs.read_bytes() == self.ours.read_bytes(),
                                  run.stderr)
        print(f"{what}: {'refused' if error else 'compared'}, {' '.join(f'{t:.1f}' for t in times)} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", nargs="*", metavar="FAMILY")
    parser.add_argument("--options", nargs="*", metavar="FAMILY", help="only the options")
    arguments = parser.parse_args()
    need_shared()
    need_oracle()
    find_libraries(ORACLE)
    oracle, report = Oracle(ORACLE), Report()
    cases = QUICK
    if arguments.all is not None:
        cases = [(name, [t for t in FILE_TYPES if imatrix or t not in SLOW], imatrix)
                 for name in arguments.all or FAMILIES for imatrix in (False, True)]
    if arguments.options is not None: cases = [(name, [], False) for name in arguments.options or FAMILIES]
    everything = arguments.all is not None or arguments.options is not None
    for name in dict.fromkeys(name for name, _, _ in cases):
        with tempfile.TemporaryDirectory() as folder:
            family = Family(name, folder, oracle, report)
            for file_types, imatrix in ((types, imatrix) for other, types, imatrix in cases if other == name):
                for file_type in file_types: family.compare(file_type, imatrix)
            if everything or name == "mixtral":
                arch = json.loads(quern("inspect", family.converted, "--json"))["architecture"]
                for file_type, imatrix, ours, options in json.loads(json.dumps(OPTIONS).replace("ARCH", arch)):
                    family.compare(file_type, imatrix, ours, options, ["quantize"] if file_type == "COPY" else ["quantize", "convert"])
    report.end()


main()
