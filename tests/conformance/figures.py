"""Perplexities and drift of real models against the float64 figures of ../shared: the bundled model
as a folder and as GGUF, its six quantizations in one run, and stories260K. Ids of the texts come from
llama.cpp's tokenizer."""
import json
import pathlib
import tempfile

from common import SHARED, SOURCE, Report, need_shared, quern
from llama_oracle import Oracle, restart_with_library_path

TYPES = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]
PERPLEXITY = 1e-4  # 0.01 %
KLD = 1e-2
TOP1 = 1e-3
# The table's figures have so many digits.
KLD_DIGIT = 1e-6

need_shared()
restart_with_library_path()


def close(value, expected, part, least=0.0):
    return abs(value - expected) <= max(part * abs(expected), least)


def table():
    """Type -> perplexity, KLD mean, median, max, top-1 of the exact columns."""
    rows = {}
    for line in (SHARED / "models/kjv-4m/README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 7 and cells[1] in TYPES:
            rows[cells[1]] = [float(cell.rstrip(" %")) for cell in cells[3:8]]
    return rows


def write_ids(oracle, gguf, text, path):
    model = oracle.open(gguf)
    path.write_text(" ".join(map(str, oracle.tokenize(model, text.read_bytes()))))
    oracle.close(model)
    return path


def perplexity(model, ids, context):
    return json.loads(quern("perplexity", model, "--token-ids", ids, "-c", context, "-q", "--json"))["perplexity"]


def check_bundled(report, oracle, folder):
    source, text = SOURCE / "testdata/kjv-4m", SOURCE / "testdata/kjv-4m/heldout.txt"
    gguf = folder / "f32.gguf"
    quern("convert", source, "-t", "F32", "-o", gguf)
    ids = write_ids(oracle, gguf, text, folder / "kjv.ids")
    value = perplexity(gguf, ids, 256)
    print(f"kjv-4m F32 GGUF: {value:.6f}")
    report.check("kjv-4m F32", close(value, 17.545496, PERPLEXITY), value)

    files = []
    for kind in TYPES:
        files.append(folder / f"{kind}.gguf")
        quern("quantize", gguf, "-t", kind, "-o", files[-1])
    result = json.loads(quern("drift", source, *files, "--token-ids", ids, "-c", 256, "-q", "--json"))
    report.check("kjv-4m folder", close(result["reference"]["perplexity"], 17.545496, PERPLEXITY), result["reference"])
    expected = table()
    for kind, candidate in zip(TYPES, result["candidates"]):
        ppl, mean, median, largest, top1 = expected[kind]
        kld = candidate["kld"]
        print(f"{kind:7} {candidate['perplexity']:.6f} KLD {kld['mean']:.6f} median {kld['median']:.6f} "
              f"max {kld['max']:.6f} top-1 {100 * candidate['top1_agreement']:.3f} %  (expected {expected[kind]})")
        report.check(f"{kind} perplexity", close(candidate["perplexity"], ppl, PERPLEXITY), candidate["perplexity"])
        report.check(f"{kind} KLD mean", close(kld["mean"], mean, KLD, KLD_DIGIT), kld["mean"])
        report.check(f"{kind} KLD median", close(kld["median"], median, KLD, KLD_DIGIT), kld["median"])
        report.check(f"{kind} KLD max", close(kld["max"], largest, KLD, KLD_DIGIT), kld["max"])
        report.check(f"{kind} top-1", close(candidate["top1_agreement"], top1 / 100, 0, TOP1), candidate["top1_agreement"])


def check_stories(report, oracle, folder):
    fixtures = SHARED / "fixtures"
    gguf = folder / "stories.gguf"
    quern("convert", fixtures / "llama2c/stories260K.bin", "-t", "F32", "-o", gguf)
    ids = write_ids(oracle, gguf, fixtures / "text/tinystories_sample.txt", folder / "stories.ids")
    for context, expected in ((128, 6.845287), (256, 6.897861)):
        value = perplexity(gguf, ids, context)
        print(f"stories260K, context {context}: {value:.6f}")
        report.check(f"stories260K {context}", close(value, expected, PERPLEXITY), value)


def main():
    report, oracle = Report(), Oracle()
    with tempfile.TemporaryDirectory() as folder:
        check_bundled(report, oracle, pathlib.Path(folder))
        check_stories(report, oracle, pathlib.Path(folder))
    report.end()


main()
