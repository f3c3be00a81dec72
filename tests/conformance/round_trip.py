"""HF folder -> GGUF -> quern export -> GGUF, for every golden family and every architecture that
more_families.py makes: the same tensors (name, type, shape, bytes) and the same metadata. From F16
and BF16 files, with shards, and from a quantized file to the type that it is decoded to. The exported
folder is compared with the first one without quern, too: tensors with numpy, token ids with Hugging
Face's tokenizers."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common
from more_families import MORE, build_more

# Of config.json what follows from the tensors or the architecture, where more_families.py's configs
# have another tokenizer's folder to thank for it.
DERIVED = {"torch_dtype", "model_type", "architectures", "tie_word_embeddings", "hidden_act"}
PACKAGES = pathlib.Path(os.environ.get("QUERN_NODE_MODULES", common.SOURCE / "build/npm/node_modules"))
TEXTS = ["Hello world 12345 1,000.50 don't we'LL \n\n\t x=  [1];", "caf\u00e9 \u65e5\u672c\u8a9e \U0001f999 \ufb01",
         "<|endoftext|>a <|im_start|>user\n", "    indented\n        more"]
# The name of the folder says these where the source said nothing.
FROM_THE_FOLDER = {"general.basename", "general.finetune", "general.version"}


def summary(path):
    return json.loads(common.quern("inspect", path, "--tensors", "--hash", "--json", "--full"))


def tensors_of(summary):
    return {t["name"]: (t["type"], t["shape"], t["sha256"]) for t in summary["tensors"]}


def metadata_of(summary):
    return {m["key"]: (m["type"], json.dumps(m["value"])) for m in summary["metadata"]
            if m["key"] not in FROM_THE_FOLDER}


def differing(a, b):
    return [(key, str(a.get(key))[:200], str(b.get(key))[:200]) for key in sorted(a.keys() | b.keys())
            if a.get(key) != b.get(key)]


def compare(report, what, first, second):
    for part, of in (("tensors", tensors_of), ("metadata", metadata_of)):
        difference = differing(of(first), of(second))
        report.check(f"{what}: {part}", not difference, difference[:5])


def checkpoint(folder):
    """Tensors as f32, by names without the prefix that checkpoints of the bare model lack."""
    import numpy
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8:8 + size])
        header.pop("__metadata__")
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            raw = data[8 + size + begin:8 + size + end]
            if entry["dtype"] == "BF16":
                values = (numpy.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
            else:
                values = numpy.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]).astype("<f4")
            tensors[name.removeprefix("transformer.")] = (tuple(entry["shape"]), values.tobytes())
    return tensors


def compare_checkpoint(report, what, before, after):
    """Without quern: the exported tensors are those that were converted, name by name."""
    before, after = checkpoint(before), checkpoint(after)
    wrong = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    report.check(f"{what}: checkpoint", not wrong, wrong[:5])


def compare_config(report, what, before, after):
    """What both configs say is the same."""
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (before, after))
    pairs = {key: (before[key], after[key]) for key in before.keys() & after.keys() - DERIVED}
    # Ids beyond the vocabulary, which converting leaves out; null, which is absent.
    wrong = {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and pair[0] is not None
             and not (key.endswith("_token_id") and pair[0] >= before["vocab_size"])}
    report.check(f"{what}: config.json", not wrong, wrong)


def compare_ids(report, what, before, after, root):
    """Hugging Face's own tokenizer, where it is installed, gives the same ids with both folders."""
    if not (PACKAGES / "@huggingface/tokenizers").exists() or not (after / "tokenizer.json").exists():
        return
    texts = root / "texts.json"
    texts.write_text(json.dumps([*TEXTS, (common.SOURCE / "testdata/kjv-4m/heldout.txt").read_text()[:20000]]))
    script = pathlib.Path(__file__).with_name("hf_tokenizer_ids.mjs")
    ids = [subprocess.run(["node", script, PACKAGES, folder, texts], capture_output=True, text=True)
           for folder in (before, after)]
    report.check(f"{what}: ids", ids[0].returncode == 0 and ids[0].stdout == ids[1].stdout, ids[1].stderr)


def round_trip(report, family, source, root):
    dtype = json.loads((source / "config.json").read_text())["torch_dtype"]
    kinds = [("BF16", [], []), ("F16", ["--shard-size", "4M"], [])]
    if dtype == "float32":
        kinds.append(("F32", [], ["-t", "F32"]))
    for kind, options, back in kinds:
        first, folder, second = root / "first.gguf", root / "exported", root / "second.gguf"
        common.quern("convert", source, "-t", kind, "-o", first, "--force", "-q")
        common.quern("export", first, "-o", folder, "--format", "safetensors", "-q", *options)
        common.quern("convert", folder, "-o", second, "--force", "-q", *back)
        compare(report, f"{family} {kind}", summary(first), summary(second))
        compare_config(report, f"{family} {kind}", source, folder)
        if dtype == {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[kind]:  # no rounding
            compare_checkpoint(report, family, source, folder)
            compare_ids(report, family, source, folder, root)
        empty(folder)
        folder.rmdir()


def from_quantized(report, family, source, root):
    """A quantized file's export, converted back, has what the blocks decode to."""
    first, folder, second = root / "first.gguf", root / "exported", root / "second.gguf"
    expected = root / "expected.gguf"
    common.quern("convert", source, "-t", "Q8_0", "-o", first, "--force", "-q")
    common.quern("quantize", first, "-t", "F16", "--allow-requantize", "-o", expected, "--force", "-q")
    common.quern("export", first, "-o", folder, "--format", "safetensors", "-q")
    common.quern("convert", folder, "-t", "F16", "-o", second, "--force", "-q")
    after = {name: digest for name, (_, _, digest) in tensors_of(summary(second)).items()}
    before = {name: digest for name, (_, _, digest) in tensors_of(summary(expected)).items()}
    report.check(f"{family} from Q8_0", before == after, differing(before, after)[:5])
    empty(folder)
    folder.rmdir()


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def main():
    common.need_shared()
    report = common.Report()
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        root = pathlib.Path(temporary)
        for family in [*common.FAMILIES, *MORE]:
            if wanted and family not in wanted:
                continue
            build = build_more if family in MORE else common.build_family
            source = build(family, root)
            round_trip(report, family, source, root)
            from_quantized(report, family, source, root)
            empty(source)
    report.end()


main()
