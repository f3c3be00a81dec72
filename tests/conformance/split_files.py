"""Shards: quern quantize --keep-split against llama_model_quantize with keep_split, whole files; and
the header of quern merge against what the released library's own gguf_* functions write when they are
called as gguf-split calls them."""
import ctypes as C
import os
import pathlib
import subprocess
import sys
import tempfile

from common import ORACLE, SHARED, Report, build_family, load, need_oracle, need_shared, quern

need_shared()
need_oracle()


def library(pattern):
    return C.CDLL(str(sorted(ORACLE.glob(pattern))[0]), mode=C.RTLD_GLOBAL)


def quantize_shards(source, prefix, file_type):
    """In a process of its own, whose loader finds the libraries."""
    library("libggml-base.so")
    ggml, llama = library("libggml.v*.so"), library("libllama.v*.so")
    params = load("oracle_quantize").Params
    llama.llama_model_quantize_default_params.restype = params
    options = llama.llama_model_quantize_default_params()
    options.nthread, options.ftype, options.keep_split = 2, file_type, True
    ggml.ggml_backend_load_all_from_path.argtypes = [C.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(ORACLE).encode())
    llama.llama_backend_init()
    llama.llama_model_quantize.argtypes = [C.c_char_p, C.c_char_p, C.POINTER(params)]
    return llama.llama_model_quantize(source.encode(), prefix.encode(), C.byref(options))


class InitParams(C.Structure):
    _fields_ = [("no_alloc", C.c_bool), ("ctx", C.POINTER(C.c_void_p))]


def merged_header(shards):
    """The metadata block that gguf-split would put in front of the merged tensors."""
    g = library("libggml-base.so")
    pointer, text = C.c_void_p, C.c_char_p
    for name, result, arguments in (
            ("gguf_init_from_file", pointer, [text, InitParams]), ("gguf_init_empty", pointer, []),
            ("gguf_set_val_u16", None, [pointer, text, C.c_uint16]), ("gguf_set_kv", None, [pointer, pointer]),
            ("gguf_get_n_tensors", C.c_int64, [pointer]), ("gguf_get_tensor_name", text, [pointer, C.c_int64]),
            ("ggml_get_tensor", pointer, [pointer, text]), ("gguf_add_tensor", None, [pointer, pointer]),
            ("gguf_get_meta_size", C.c_size_t, [pointer]), ("gguf_get_meta_data", None, [pointer, pointer])):
        getattr(g, name).restype, getattr(g, name).argtypes = result, arguments
    out = g.gguf_init_empty()
    for number, shard in enumerate(shards):
        tensors = pointer()
        header = g.gguf_init_from_file(str(shard).encode(), InitParams(True, C.pointer(tensors)))
        if number == 0:
            g.gguf_set_val_u16(header, b"split.count", 0)
            g.gguf_set_kv(out, header)
        for i in range(g.gguf_get_n_tensors(header)):
            g.gguf_add_tensor(out, g.ggml_get_tensor(tensors, g.gguf_get_tensor_name(header, i)))
    data = C.create_string_buffer(g.gguf_get_meta_size(out))
    g.gguf_get_meta_data(out, data)
    return data.raw


def main():
    report = Report()
    for name in ("llama2", "qwen3", "mixtral", "gpt2"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            source = build_family(name, folder)
            quern("convert", source, "-o", folder / "in.gguf", "--split-max-tensors", "7")
            shards = sorted(folder.glob("in-*.gguf"))
            for kind, number in (("Q4_K_M", 15), ("Q8_0", 7)):
                subprocess.run([sys.executable, __file__, shards[0], folder / f"theirs-{kind}", str(number)], check=True,
                               capture_output=True, env={**os.environ, "LD_LIBRARY_PATH": str(ORACLE)})
                quern("quantize", shards[0], "-t", kind, "-o", folder / f"ours-{kind}.gguf", "--keep-split")
                theirs = sorted(folder.glob(f"theirs-{kind}-*.gguf"))
                report.check(f"{name} {kind} shards", len(theirs) == len(shards) > 1)
                for path in theirs:
                    ours = path.with_name(path.name.replace("theirs", "ours"))
                    report.check(f"{name} {path.name}", ours.exists() and path.read_bytes() == ours.read_bytes())
            quern("convert", source, "-o", folder / "whole.gguf")
            quern("split", folder / "whole.gguf", folder / "part", "--split-max-tensors", "9")
            for prefix in ("in", "part"):  # keys in the converter's order, and in gguf-split's
                shards = sorted(folder.glob(f"{prefix}-*.gguf"))
                quern("merge", shards[0], folder / "merged.gguf", "--force")
                header = merged_header(shards)
                report.check(f"{name} merged {prefix}",
                             (folder / "merged.gguf").read_bytes()[:len(header)] == header)
    report.end()


if len(sys.argv) == 4:
    sys.exit(quantize_shards(sys.argv[1], sys.argv[2], int(sys.argv[3])))
main()
