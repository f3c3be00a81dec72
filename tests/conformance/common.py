"""What the conformance scripts share: places, skipping, the golden families built once."""
import importlib.util
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("QUERN_SOURCE", pathlib.Path(__file__).parents[2]))
QUERN = os.environ.get("QUERN", str(SOURCE / "build/release/bin/quern"))
SHARED = pathlib.Path(os.environ.get("QUERN_SHARED", SOURCE.parent / "shared"))
ORACLE = pathlib.Path(os.environ.get(
    "QUERN_ORACLE", SOURCE / "build/npm/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"))
FAMILIES = ["llama2", "llama31", "smollm2", "mixtral", "qwen3", "pythia", "phi2", "gpt2"]


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def need_shared():
    if not (SHARED / "conformance").exists():
        skip("no shared/ beside this clone")
    if importlib.util.find_spec("numpy") is None:
        skip("no numpy for " + sys.executable)


def need_oracle():
    if not (ORACLE / "libggml-base.so").exists():
        skip("llama.cpp's libraries are not in build/npm; scripts/install-oracle brings them")


def load(name):
    """A script of shared/conformance as a module."""
    spec = importlib.util.spec_from_file_location(name, SHARED / "conformance" / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_family(name, folder):
    load("families").build(name, str(folder), str(SHARED / "fixtures/tokenizers"))
    return pathlib.Path(folder) / name


def quern(*arguments):
    result = subprocess.run([QUERN, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"quern {' '.join(map(str, arguments))}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


class Report:
    """Counts checks; prints what differs; ends the script."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print("DIFFERS:", what, detail)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)
