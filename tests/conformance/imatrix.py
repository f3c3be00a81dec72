"""imatrix.py [FAMILY...]: what `quern imatrix` collects against what enters llama.cpp's own matrix
products, seen through the callback that llama-imatrix uses: names, counts (of each expert) and sums
of squares, for mixtures, joined and tied matrices, from the source folder and from the F32 GGUF.

An expert's choice is a comparison: where two are equal but for rounding, llama.cpp may choose
another than the reference, so counts of experts may differ by a few tokens; values are compared
where they are equal."""
import ctypes as C
import json
import pathlib
import struct
import sys
import tempfile

import numpy as np

from common import FAMILIES, Report, build_family, need_shared, quern
from llama_oracle import Oracle, Watch, restart_with_library_path
from more_families import MORE, build_more

CONTEXT, WINDOWS = 64, 3
BOUND = 1e-3

need_shared()
restart_with_library_path()


class Tensor(C.Structure):
    """struct ggml_tensor of ggml.h."""
    _fields_ = [("type", C.c_int), ("buffer", C.c_void_p), ("ne", C.c_int64 * 4), ("nb", C.c_size_t * 4), ("op", C.c_int),
                ("op_params", C.c_int32 * 16), ("flags", C.c_int32), ("src", C.c_void_p * 10), ("view_src", C.c_void_p),
                ("view_offs", C.c_size_t), ("data", C.c_void_p), ("name", C.c_char * 64)]

    def array(self, dtype):
        size = sum((n - 1) * step for n, step in zip(self.ne, self.nb)) + 4
        memory = (C.c_char * size).from_address(self.data)
        return np.ndarray(tuple(self.ne)[::-1], dtype, memory, strides=tuple(self.nb)[::-1])


class Collector:
    """Sums and counts by name: [matrices, columns] and [matrices]."""

    def __init__(self, oracle):
        self.entries, self.watch, self.failure = {}, Watch(self.see), None
        self.name_of = oracle.base.ggml_op_name
        self.name_of.restype, self.name_of.argtypes = C.c_char_p, [C.c_int]

    def see(self, address, ask, _):
        try:
            return self.collect(Tensor.from_address(address), ask)
        except Exception as failure:  # ctypes would swallow it
            self.failure = failure
            return False

    def collect(self, tensor, ask):
        op = self.name_of(tensor.op)
        if op not in (b"MUL_MAT", b"MUL_MAT_ID"): return not ask
        weight, x = (Tensor.from_address(tensor.src[i]) for i in (0, 1))
        name = weight.name.decode().strip("#")
        if not name.startswith("blk.") and name not in ("output.weight", "token_embd.weight"): return not ask
        if ask: return True
        matrices = weight.ne[2] if op == b"MUL_MAT_ID" else 1
        sums, counts = self.entries.setdefault(name, (np.zeros((matrices, x.ne[0])), np.zeros(matrices, np.int64)))
        rows = x.array(np.float32)[0].astype(np.float64) ** 2
        if op == b"MUL_MAT":
            sums[0] += rows.reshape(-1, rows.shape[-1]).sum(0)
            counts[0] += rows.shape[0] * rows.shape[1]
            return True
        ids = Tensor.from_address(tensor.src[2]).array(np.int32)[0, 0]  # [tokens, used]
        for token, chosen in enumerate(ids):
            for i, expert in enumerate(chosen):
                sums[expert] += rows[token, i % rows.shape[1]]
                counts[expert] += 1
        return True


def read_imatrix(path):
    """The GGUF form, in as many lines as it takes."""
    data, at = pathlib.Path(path).read_bytes(), 8

    def take(form):
        nonlocal at
        at += struct.calcsize("<" + form)
        return struct.unpack_from("<" + form, data, at - struct.calcsize("<" + form))[0]

    def text():
        return take(f"{take('Q')}s").decode()

    def value(kind):
        if kind == 8: return text()
        if kind == 9:
            item = take("I")
            return [value(item) for _ in range(take("Q"))]
        return take({4: "I"}[kind])

    assert data[:8] == b"GGUF\3\0\0\0"
    tensor_count, key_count = take("Q"), take("Q")
    keys, tensors = {}, {}
    for _ in range(key_count):
        key = text()
        keys[key] = value(take("I"))
    places = [(text(), [take("Q") for _ in range(take("I"))], take("I"), take("Q")) for _ in range(tensor_count)]
    start = (at + 31) // 32 * 32
    for name, shape, kind, offset in places:
        assert kind == 0
        tensors[name] = np.frombuffer(data, np.float32, int(np.prod(shape)), start + offset)
    assert keys["general.type"] == "imatrix"
    return keys, {name[:-8]: (tensors[name], tensors[name[:-8] + ".counts"]) for name in tensors if name.endswith(".in_sum2")}


def compare(report, what, ours, theirs):
    report.check(f"{what} names", set(ours) == set(theirs), sorted(set(ours) ^ set(theirs)))
    worst, moved = 0.0, 0
    for name in set(ours) & set(theirs):
        sums, counts = theirs[name]
        own_sums, own_counts = ours[name][0].reshape(sums.shape), ours[name][1].astype(np.int64)
        moved = max(moved, int(np.abs(own_counts - counts).max()))
        same = (own_counts == counts) & (counts > 0)
        report.check(f"{what} {name} total", own_counts.sum() == counts.sum(), (own_counts, counts))
        # Of a mean: columns that are nearly always zero have no digits to lose.
        scale = sums[same].mean(1, keepdims=True) * 1e-3 + sums[same]
        if same.any(): worst = max(worst, float((np.abs(own_sums[same] - sums[same]) / scale).max()))
    print(f"{what:28} {len(theirs):3} tensors, largest difference {worst:.1e}, experts' counts differ by {moved} at most")
    report.check(f"{what} values", worst < BOUND, worst)
    report.check(f"{what} counts", moved <= 2, moved)


def main():
    report, oracle = Report(), Oracle()
    # phi2's rotary dimension is an odd number here, which llama.cpp does not turn.
    for name in sys.argv[1:] or [f for f in FAMILIES if f != "phi2"] + ["qwen2moe", "qwen3moe"]:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            source = (build_more if name in MORE else build_family)(name, folder)
            gguf = folder / "f32.gguf"
            quern("convert", source, "-t", "F32", "-o", gguf)
            ids = np.random.default_rng(7).integers(3, 500, (WINDOWS, CONTEXT))
            (folder / "ids").write_text(" ".join(map(str, ids.flatten())))
            made = {}
            for what, path in (("source", source), ("gguf", gguf)):
                made[what] = folder / (what + ".imatrix")
                summary = json.loads(quern("imatrix", path, "--token-ids", folder / "ids", "-c", CONTEXT, "--process-output",
                                           "-o", made[what], "--json", "-q"))
            if summary["bos"] is not None: ids[:, 0] = summary["bos"]
            model, collector = oracle.open(gguf), Collector(oracle)
            for window in ids.tolist(): oracle.logits(model, window, collector.watch)
            oracle.close(model)
            if collector.failure: raise collector.failure
            for what in made:
                keys, ours = read_imatrix(made[what])
                report.check(f"{name} keys", keys["imatrix.chunk_count"] == WINDOWS and keys["imatrix.chunk_size"] == CONTEXT, keys)
                compare(report, f"{name} {what}", ours, collector.entries)
    report.end()


main()
