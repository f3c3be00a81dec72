"""A large .pth converts in little memory.

Writes the state dict of a Llama (F16, all zeros, so that the file is sparse; stored members, ZIP64)
and converts it to Q8_0 within 300 MiB. Once more with all tensors as views of a single storage, and
with a wrong CRC, which must be noticed: it is computed from what is read anyway.

    large_pth.py [--size BYTES] [--type TYPE]    CI: 512 MB. By hand: --size 4.4e9
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common
import torch_files

MOST_MEMORY = 300 << 20
MODEL = common.SOURCE / "testdata/layouts/hf_zip/small-llama"  # its tokenizer and its config
DIM, HIDDEN, HEADS = 2048, 5504, 16


def shapes(size):
    config = json.loads((MODEL / "config.json").read_text())
    layer = {"self_attn.q_proj": [DIM, DIM], "self_attn.k_proj": [DIM, DIM],
             "self_attn.v_proj": [DIM, DIM], "self_attn.o_proj": [DIM, DIM],
             "mlp.gate_proj": [HIDDEN, DIM], "mlp.up_proj": [HIDDEN, DIM],
             "mlp.down_proj": [DIM, HIDDEN], "input_layernorm": [DIM],
             "post_attention_layernorm": [DIM]}
    bytes_per_layer = sum(2 * elements(shape) for shape in layer.values())
    layers = max(1, round(size / bytes_per_layer))
    made = {"model.embed_tokens.weight": [config["vocab_size"], DIM], "model.norm.weight": [DIM],
            "lm_head.weight": [config["vocab_size"], DIM]}
    for i in range(layers):
        made |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    config |= {"hidden_size": DIM, "intermediate_size": HIDDEN, "num_hidden_layers": layers,
               "num_attention_heads": HEADS, "num_key_value_heads": HEADS}
    return made, config


def elements(shape):
    return shape[0] * shape[1] if len(shape) == 2 else shape[0]


def state_dict(tensors, single):
    """The pickle, and the bytes of each storage."""
    items, sizes = {}, []
    total = sum(elements(shape) for shape in tensors.values())
    at = 0
    for name, shape in tensors.items():
        strides = [shape[-1], 1][-len(shape):]
        if single:
            store = torch_files.storage("HalfStorage", "0", total)
        else:
            store = torch_files.storage("HalfStorage", str(len(sizes)), elements(shape))
            sizes.append(2 * elements(shape))
        items[name] = torch_files.tensor(store, shape, strides, at if single else 0)
        at += elements(shape)
    return torch_files.state(items), [2 * total] if single else sizes


def crc_of_zeros(size, known={}):
    if size not in known:
        crc, piece = 0, bytes(1 << 20)
        for at in range(0, size, len(piece)):
            crc = zlib.crc32(piece[:min(len(piece), size - at)], crc)
        known[size] = crc
    return known[size]


def write_zip(path, pickled, sizes, wrong_crc):
    """Stored members with ZIP64 sizes and offsets, their zeros as holes in the file."""
    crcs = [crc_of_zeros(size) for size in sizes]
    if wrong_crc:
        crcs[-1] ^= 1
    members = [("archive/data.pkl", len(pickled), zlib.crc32(pickled), pickled)]
    members += [(f"archive/data/{i}", size, crc, b"")
                for i, (size, crc) in enumerate(zip(sizes, crcs))]
    directory = b""
    with open(path, "wb") as file:
        for name, size, crc, content in members:
            name, at = name.encode(), file.tell()
            extra = struct.pack("<HHQQ", 1, 16, size, size)
            file.write(struct.pack("<IHHHHHIIIHH", 0x04034b50, 45, 0, 0, 0, 0, crc, 0xffffffff,
                                   0xffffffff, len(name), len(extra)) + name + extra + content)
            file.seek(size - len(content), os.SEEK_CUR)
            extra = struct.pack("<HHQQQ", 1, 24, size, size, at)
            directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 45, 45, 0, 0, 0, 0, crc,
                                     0xffffffff, 0xffffffff, len(name), len(extra), 0, 0, 0, 0,
                                     0xffffffff) + name + extra
        at, count = file.tell(), len(members)
        end = at + len(directory)
        file.write(directory)
        file.write(struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, count, count,
                               len(directory), at))
        file.write(struct.pack("<IIQI", 0x07064b50, 0, end, 1))
        file.write(struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0))


def convert(model, out, kind):
    begin = time.monotonic()
    child = subprocess.Popen([common.QUERN, "convert", model, "-t", kind, "-o", out, "-q"],
                             stderr=subprocess.PIPE, text=True)
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, error, usage.ru_maxrss << 10, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=float, default=512e6, help="bytes of the .pth, about")
    parser.add_argument("--type", default="Q8_0")
    arguments = parser.parse_args()
    report = common.Report()
    tensors, config = shapes(arguments.size)
    with tempfile.TemporaryDirectory(dir=os.environ.get("QUERN_BIG_TMP")) as temporary:
        if shutil.disk_usage(temporary).free < 2 * arguments.size:
            common.skip(f"not enough room in {temporary}; QUERN_BIG_TMP may name another folder")
        model, out = pathlib.Path(temporary) / "model", pathlib.Path(temporary) / "out.gguf"
        shutil.copytree(MODEL, model)
        (model / "config.json").write_text(json.dumps(config))
        path = model / "pytorch_model.bin"
        for what, single, wrong in (("a storage per tensor", False, False),
                                    ("one storage", True, False), ("a wrong CRC", False, True)):
            write_zip(path, *state_dict(tensors, single), wrong)
            plan = json.loads(common.quern("convert", model, "-t", arguments.type, "-o", out,
                                           "--dry-run", "--json"))["outputs"][0]
            code, error, peak, seconds = convert(model, out, arguments.type)
            report.check(f"{what}: exit code", code == (3 if wrong else 0), error)
            report.check(f"{what}: memory", peak <= MOST_MEMORY, f"{peak} bytes")
            if wrong:
                report.check("a wrong CRC leaves no output", os.listdir(temporary) == ["model"])
                report.check("a wrong CRC is named", "CRC" in error, error)
            else:
                report.check(f"{what}: size", out.stat().st_size == plan["file_bytes"])
                out.unlink()
            print(f"{what}: {path.stat().st_size / 1e9:.2f} GB, {len(tensors)} tensors, "
                  f"{arguments.type}: exit {code}, {seconds:.1f} s, peak {peak / 2**20:.0f} MiB")
    report.end()


main()
