"""HF folder -> GGUF -> quern export -> GGUF, for every golden family and every architecture that
more_families.py makes: the same tensors (name, type, shape, bytes), the same metadata but for what
the GGUF does not hold or a folder cannot say (general.*, which comes from model cards and names).
From F16 and BF16 files, with shards, and from a quantized file to the type that it is decoded to."""
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common
from more_families import MORE, build_more

# Of config.json what follows from the tensors or the architecture, where more_families.py's configs
# have another tokenizer's folder to thank for it.
DERIVED = {"torch_dtype", "model_type", "architectures", "tie_word_embeddings", "hidden_act"}
# The name of the folder says these where the source said nothing, and the count of tensors that tie
# embeddings.
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


def compare_config(report, what, before, after):
    """What both configs say is the same."""
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (before, after))
    pairs = {key: (before[key], after[key]) for key in before.keys() & after.keys() - DERIVED}
    # Ids beyond the vocabulary, which converting leaves out; null, which is absent.
    wrong = {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and pair[0] is not None
             and not (key.endswith("_token_id") and pair[0] >= before["vocab_size"])}
    report.check(f"{what}: config.json", not wrong, wrong)


def round_trip(report, family, source, root):
    for kind, options in (("BF16", []), ("F16", ["--shard-size", "4M"])):
        first, folder, second = root / "first.gguf", root / "exported", root / "second.gguf"
        common.quern("convert", source, "-t", kind, "-o", first, "--force", "-q")
        common.quern("export", first, "-o", folder, "--format", "safetensors", "-q", *options)
        common.quern("convert", folder, "-o", second, "--force", "-q")
        compare(report, f"{family} {kind}", summary(first), summary(second))
        compare_config(report, f"{family} {kind}", source, folder)
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
