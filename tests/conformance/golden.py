"""quern convert and quantize against the golden files of ../shared/conformance: every key in order
with type and value, every tensor in order with type, shape and bytes; whole quantized files by
SHA-256. The one known quirk of llama.cpp that is not copied: no general.file_type for GPT-NeoX."""
import hashlib
import json
import pathlib
import tempfile

from common import FAMILIES, SHARED, Report, build_family, need_shared, load, quern

need_shared()
GOLDEN = SHARED / "conformance/golden"
summarize = load("summarize_gguf").summarize


def compare_conversion(report, name, ours):
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    kv = [list(entry) for entry in ours["kv"]]
    if name == "pythia":
        kv = [entry for entry in kv if entry[0] != "general.file_type"]
    else:
        report.check(f"{name} whole file", ours["sha256"] == golden["sha256"])
    report.check(f"{name} key order", [k for k, _, _ in kv] == [k for k, _, _ in golden["kv"]],
                 (kv, golden["kv"]))
    expected = {k: (t, v) for k, t, v in golden["kv"]}
    for key, kind, value in kv:
        report.check(f"{name} {key}", expected.get(key) == (kind, value),
                     f"{kind} {value}, expected {expected.get(key)}")
    report.check(f"{name} tensor order", [t[0] for t in ours["tensors"]] == [t[0] for t in golden["tensors"]])
    tensors = {t[0]: t for t in golden["tensors"]}
    for tensor in ours["tensors"]:
        report.check(f"{name} {tensor[0]}", list(tensor) == tensors.get(tensor[0]),
                     f"{tensor}, expected {tensors.get(tensor[0])}")


def main():
    report = Report()
    written = {t["name"] for t in json.loads(quern("types", "--json"))["file_types"]}
    quantized = {}
    for line in (GOLDEN / "quantized.sha256.txt").read_text().splitlines():
        name, kind, digest, size = line.split()
        if kind in written:
            quantized.setdefault(name, []).append((kind, digest))
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            source = build_family(name, folder)
            out = pathlib.Path(folder) / "auto.gguf"
            quern("convert", source, "-o", out)
            compare_conversion(report, name, summarize(str(out)))
            for kind, digest in quantized.get(name, []):
                for how, model in (("quantize", out), ("convert", source)):
                    path = pathlib.Path(folder) / "quantized.gguf"
                    quern(how, model, "-t", kind, "-o", path, "--force")
                    ours = hashlib.sha256(path.read_bytes()).hexdigest()
                    report.check(f"{name} {how} {kind}", ours == digest)
    report.end()


main()
