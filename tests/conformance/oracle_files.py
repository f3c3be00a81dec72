"""Whole files: quern quantize against llama_model_quantize of the released library, header included,
for file types that need no importance matrix, on all families."""
import json
import pathlib
import subprocess
import sys
import tempfile

from common import FAMILIES, ORACLE, QUERN, SHARED, Report, build_family, need_oracle, need_shared, quern

need_shared()
need_oracle()
# Those that the peer writes in seconds; tests/quant compares the bytes of the others' codecs.
TYPES = {"F16", "BF16", "F32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L",
         "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "TQ1_0", "TQ2_0"}


def main():
    report = Report()
    types = [t for t in json.loads(quern("types", "--json"))["file_types"] if t["name"] in TYPES]
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            source = build_family(name, folder)
            converted, theirs, ours = (pathlib.Path(folder) / f for f in ("auto.gguf", "a.gguf", "b.gguf"))
            quern("convert", source, "-o", converted)
            for kind in types:
                run = subprocess.run(
                    [sys.executable, SHARED / "conformance/oracle_quantize.py", ORACLE, converted, theirs,
                     str(kind["id"])], capture_output=True, text=True)
                if run.returncode != 0:
                    # llama.cpp refuses (a row size without a fall-back): so must we
                    code = subprocess.run([QUERN, "quantize", converted, "-t", kind["name"], "-o", ours,
                                           "--force", "-q"], capture_output=True).returncode
                    report.check(f"{name} {kind['name']} refused", code != 0, run.stderr[-300:])
                    continue
                quern("quantize", converted, "-t", kind["name"], "-o", ours, "--force")
                report.check(f"{name} {kind['name']}", theirs.read_bytes() == ours.read_bytes())
    report.end()


main()
