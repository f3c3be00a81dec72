#!/usr/bin/env python3
"""What llama.cpp's library chooses: the tensor types and the order of whole files, for every file type.

    recipe_oracle.py LIBDIR --write testdata/recipes/llama.cpp-v0.5.0.json
    recipe_oracle.py LIBDIR --check testdata/recipes/llama.cpp-v0.5.0.json

LIBDIR holds libllama and libggml of llama.cpp v0.5.0 (npm: @node-llama-cpp/linux-x64@3.22.1, folder bins/linux-x64).
For each model below a tiny GGUF of zeros is written (a row of 256 quantizes like one of 8192) and quantized with
llama_model_quantize; the types and order of the result are kept. tests/quant/recipe_test.cc compares them with quern's.

Format: {"letters": {tensor type: letter}, "models": [{name, metadata (integers and lists), tensors, order, plain, imatrix,
options}]}. A tensor is [name, shape outermost first, source type]; "{i}" in a name stands for every block, all blocks of one
tensor before those of the next, and that is the order in the source. Results are strings of letters in the order of the
output, each followed by its count if that is not 1; "!code" is a refusal, with quern's name for it. `order` is the FNV-1a 64
hash of the names in output order, each followed by a newline. `plain` and `imatrix` are by file type, without and with an
importance matrix for all tensors; `imatrix` lists only what differs from `plain`. `options` are [file type, options, result].
"""
import argparse, json, os, re, struct, sys, tempfile

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from llama_quantize import TYPES, Oracle, find_libraries
from recipe_models import FILE_TYPES, MODELS

BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "I32": (1, 4), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_K": (256, 144),
          "Q6_K": (256, 210)}  # of source types: weights and bytes
LETTERS = {name: "abcdefghijklmnopqrstuvwxyzABCDEF"[i] for i, name in enumerate(TYPES)}
NAMES = {number: name for name, number in TYPES.items()}
ERRORS = [("requires an imatrix", "usage"), ("requantizing", "usage"), ("no tensor type fallback", "bad_shape"),
          ("determine layer", "bad_value"), ("Bad layer", "bad_value")]


def gguf_string(text): return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(value):
    if isinstance(value, str): return struct.pack("<I", 8) + gguf_string(value)
    if isinstance(value, bool): return struct.pack("<I?", 7, value)
    if isinstance(value, float): return struct.pack("<If", 6, value)
    if isinstance(value, list): return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    return struct.pack("<II", 4, value)


def write_gguf(path, metadata, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)); offset = 0
    for key, value in metadata.items(): head += gguf_string(key) + gguf_value(value)
    for name, shape, kind in tensors:
        elements, size = BLOCKS[kind]; count = 1
        for n in shape: count *= n
        head += gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), TYPES[kind], offset)
        offset += -(-(count // elements * size) // 32) * 32
    with open(path, "wb") as file: file.write(head + bytes(-len(head) % 32 + offset))


def read_gguf(path):
    """Names and type names of the tensors, and general.file_type."""
    with open(path, "rb") as file: data = file.read()
    tensor_count, key_count = struct.unpack_from("<QQ", data, 8); at = 24; file_type = None
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    def text():
        nonlocal at
        (length,) = struct.unpack_from("<Q", data, at); at += 8 + length; return data[at - length:at].decode()
    for _ in range(key_count):
        key = text(); (kind,) = struct.unpack_from("<I", data, at); at += 4
        if key == "general.file_type": (file_type,) = struct.unpack_from("<I", data, at)
        if kind == 8: text()
        elif kind == 9: inner, count = struct.unpack_from("<IQ", data, at); at += 12 + sizes[inner] * count
        else: at += sizes[kind]
    tensors = []
    for _ in range(tensor_count):
        name = text(); (dimensions,) = struct.unpack_from("<I", data, at); at += 4 + 8 * dimensions
        (kind,) = struct.unpack_from("<I", data, at); at += 12; tensors.append((name, NAMES[kind]))
    return tensors, file_type


def fnv1a(names):
    value = 0xcbf29ce484222325
    for byte in "".join(name + "\n" for name in names).encode(): value = (value ^ byte) * 0x100000001b3 & (2**64 - 1)
    return f"{value:016x}"


def expand(model):
    """Every tensor of the model, "{i}" replaced by block numbers."""
    blocks = next((v for k, v in model["metadata"].items() if k.endswith(".block_count")), 0)
    for name, shape, *kind in model["tensors"]:
        for i in range(blocks) if "{i}" in name else [0]: yield [name.replace("{i}", str(i)), shape, (kind or ["F32"])[0]]


def loadable(oracle, source, metadata, tensors):
    """Writes `source` with whatever further keys the library wants of this architecture (their values change no type)."""
    arch = metadata["general.architecture"]; metadata = dict(metadata)
    for key, value in (("context_length", 128), ("embedding_length", 256), ("feed_forward_length", 256), ("vocab_size", 32),
                       ("attention.layer_norm_rms_epsilon", 1e-5), ("attention.layer_norm_epsilon", 1e-5)):
        metadata.setdefault(f"{arch}.{key}", value)
    for _ in range(50):
        write_gguf(source, metadata, tensors)
        error = oracle.quantize(source, source + ".out", "COPY")
        if not error: return
        missing = re.search(r"key not found in model: (\S+)", error); wrong = re.search(r"key (\S+) has wrong type \S+ but expected type (f32|bool)", error)
        if missing: metadata[missing[1]] = 4
        elif wrong: metadata[wrong[1]] = {"f32": 1.0, "bool": True}[wrong[2]]
        else: break
    sys.exit(f"{arch}: {error}")


def ones(tensors):
    """An importance matrix for all tensors."""
    return {name: [1.0] * (shape[-1] * (shape[-3] if len(shape) > 2 else 1)) for name, shape, _ in tensors}


def outcome(oracle, source, *how):
    error = oracle.quantize(source, source + ".out", *how)
    if error:
        codes = [code for text, code in ERRORS if text in error]
        return "!" + codes[0] if codes else sys.exit(f"{how[0]}: {error}"), None
    tensors, file_type = read_gguf(source + ".out")
    letters = "".join(LETTERS[kind] for _, kind in tensors)
    runs = re.sub(r"(.)\1+", lambda run: run[1] + str(len(run[0])), letters)
    return (f"{runs} file_type={file_type}" if how[0] == "COPY" else runs), tensors


def measure(oracle, model, source):
    tensors = list(expand(model)); loadable(oracle, source, model["metadata"], tensors)
    result = dict(model); copied = read_gguf(source + ".out")[0]
    result["order"] = fnv1a(name for name, _ in copied); result["plain"] = {}; result["imatrix"] = {}
    for file_type in result.pop("file_types", FILE_TYPES):
        plain = result["plain"][file_type] = outcome(oracle, source, file_type)[0]
        if file_type == "COPY": continue
        guided = outcome(oracle, source, file_type, ones(tensors))[0]
        if guided != plain: result["imatrix"][file_type] = guided
    result["options"] = [[file_type, options, outcome(oracle, source, file_type, ones(tensors) if options.get("imatrix") else None, options)[0]]
                         for file_type, options in model.get("options", [])]
    return result


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lib_dir"); parser.add_argument("--write"); parser.add_argument("--check"); args = parser.parse_args(argv)
    find_libraries(args.lib_dir)
    oracle = Oracle(args.lib_dir)
    with tempfile.TemporaryDirectory() as folder:
        models = [measure(oracle, model, os.path.join(folder, "model.gguf")) for model in MODELS]
    golden = {"origin": "llama.cpp v0.5.0's llama_model_quantize, by tests/conformance/recipe_oracle.py, which explains the format", "letters": LETTERS}
    text = json.dumps(golden)[:-1] + ', "models": [\n' + ",\n".join(json.dumps(model, separators=(",", ":")) for model in models) + "\n]}\n"
    if args.write:
        with open(args.write, "w") as file: file.write(text)
    if args.check:
        with open(args.check) as file: same = file.read() == text
        print("equal" if same else f"{args.check} differs from what this library chooses; remake it with --write"); return 0 if same else 1


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
