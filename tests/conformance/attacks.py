"""What hostile model files can do to quern: nothing.

Writes the files of hostile_files.py into a folder that is otherwise a good model and runs `quern
inspect FILE`, `quern convert FOLDER` and `quern inspect --allow-opaque FILE` on each, watched by
strace. Expects the documented exit code and one line of error; that no process is started, no
socket made, no file opened for writing, made, renamed or removed; that the folder is as before; that
the peak of memory stays below the file's size + 64 MiB. Payloads are first loaded by Python, where
they must work.

    attacks.py [PART OF A NAME]    all cases, or some, with a line for each

Exits 77 (skipped) where strace is missing or may not trace; the rest has been checked then.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import common

SPARE = 64 << 20  # bytes of memory beyond the size of the file
MODEL = common.SOURCE / "testdata/layouts/hf_zip/small-llama"
# Every system call that takes a path, starts or signals a process, or uses the network.
TRACE = "trace=%file,%process,%network,write,writev,pwrite64,pwritev,ftruncate,fchmod,fchown,ptrace"
# Of these, the ones that change nothing.
HARMLESS = {"access", "faccessat", "faccessat2", "stat", "lstat", "newfstatat", "fstatat64", "statx",
            "statfs", "readlink", "readlinkat", "getcwd", "exit", "exit_group", "wait4"}
WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")
LOADER = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"


def violation(line, seen):
    """What a line of strace's log shows that must not be, or nothing."""
    found = re.match(r"\d+ +(\w+)\((.*)", line)
    if not found:
        return None  # a signal, an exit, the end of a call that was interrupted
    call, rest = found.groups()
    if call == "execve" and not seen:
        seen.append(line)
        return None
    if call in ("clone", "clone3"):
        return None if "CLONE_THREAD" in rest else line
    if call in ("open", "openat"):
        return line if WRITING.search(rest) else None
    if call in ("write", "writev"):
        return None if re.match(r"[12]<", rest) else line
    return None if call in HARMLESS else line


def can_trace(folder):
    if shutil.which("strace") is None:
        return False
    log = folder / "probe"
    result = subprocess.run(["strace", "-f", "-y", "-o", log, "-e", TRACE, "/bin/true"], capture_output=True)
    return result.returncode == 0 and "execve(" in log.read_text()


class Run:
    """One run of quern: exit code, text, peak of memory, forbidden system calls."""

    def __init__(self, arguments, log):
        command = [common.QUERN, *map(str, arguments)]
        if log:
            command = ["strace", "-f", "-y", "-o", str(log), "-e", TRACE] + command
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
            # Counts children that were waited for as well: quern below strace.
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            err.seek(0)
            self.error = err.read().decode(errors="replace")
        self.code = child.returncode
        self.peak = usage.ru_maxrss << 10
        seen = []
        self.calls = [] if not log else [
            line for line in log.read_text(errors="replace").splitlines() if violation(line, seen)]


def contents(folder):
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.rglob("*")}


def check_python_runs(case, folder, marker, report):
    subprocess.run([sys.executable, "-c", LOADER, f"{case.path}.pkl"], capture_output=True, cwd=folder)
    report.check(f"{case.name}: works in Python", marker.exists())
    marker.unlink(missing_ok=True)


def expected_codes(case, what):
    if what == "placeholders":  # may read past the attack, never through it
        return {0, 3, 5}
    if what == "inspect" and case.inspects:
        return {0}
    return {case.code}


def check_case(case, folder, marker, log, report):
    """Returns the largest excess of memory over the file's size."""
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(MODEL, model)
    if case.file != "pytorch_model.bin":
        (model / "pytorch_model.bin").unlink()
    path = model / case.file
    shutil.copy(case.path, path)
    size = path.stat().st_size
    before = contents(model)
    # A GGUF or GGML file is a model by itself, other files are part of a folder.
    source = path if case.file in ("model.gguf", "model.bin", "model.npy") else model
    runs = {"inspect": ["inspect", path],
            "convert": ["convert", source, "-o", model / "out.gguf"],
            "placeholders": ["inspect", path, "--hash", "--allow-opaque"]}
    excess = 0
    for what, arguments in runs.items():
        run = Run(arguments, log)
        name = f"{case.name}: {what}"
        report.check(name + " exit code", run.code in expected_codes(case, what),
                     f"{run.code} {run.error.strip()}")
        if run.code != 0:
            line = run.error.strip().splitlines()
            report.check(name + " says one line", len(line) == 1 and line[0].startswith("quern: ") and
                         (what == "placeholders" or case.says in line[0]), run.error)
        calls = run.calls
        if case.inspects and what == "convert":  # its output has begun by then, and is removed
            calls = [call for call in calls if "out.gguf.partial" not in call]
        report.check(name + " system calls", not calls, calls)
        report.check(name + " memory", run.peak <= size + SPARE, f"{run.peak} bytes for {size}")
        excess = max(excess, run.peak - size)
    report.check(case.name + ": folder is as it was", contents(model) == before)
    report.check(case.name + ": payload did not run", not marker.exists())
    return excess


def check_watching_works(folder, log, report):
    """A good model converts, and the log shows its output being made."""
    shutil.copytree(MODEL, folder / "good")
    run = Run(["convert", folder / "good", "-o", folder / "good.gguf"], log)
    report.check("a good model converts", run.code == 0, run.error)
    if log:
        report.check("strace shows what is written", any("good.gguf.partial" in c for c in run.calls))


def make_cases(folder, marker):
    subprocess.run([sys.executable, pathlib.Path(__file__).with_name("hostile_files.py"), folder, marker,
                    MODEL / "pytorch_model.bin"], check=True)
    cases = [types.SimpleNamespace(**case) for case in json.loads((folder / "cases.json").read_text())]
    for i, case in enumerate(cases):
        case.path = folder / str(i)
    return cases


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    report = common.Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        marker = folder / "was-here"
        log = folder / "log" if can_trace(folder) else None
        check_watching_works(folder, log, report)
        excess = {}
        (folder / "cases").mkdir()
        for case in make_cases(folder / "cases", marker):
            if wanted not in case.name:
                continue
            if case.live:
                check_python_runs(case, folder, marker, report)
            excess[case.name] = check_case(case, folder, marker, log, report)
            if wanted:
                print(f"{excess[case.name] / 2**20:7.1f} MiB  {case.name}")
    # A child's peak counts from what this process had in memory when it started it.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    report.check("this script is small", own < SPARE // 2, f"{own} bytes")
    if not excess:
        sys.exit(f"no case is called {wanted}")
    worst = max(excess, key=excess.get)
    print(f"{len(excess)} files; most memory beyond a file's size: "
          f"{excess[worst] / 2**20:.1f} MiB ({worst})")
    if not report.failed and not log:
        common.skip("refusals and memory were checked, but not system calls: strace cannot trace here")
    report.end()


main()
