"""The hostile model files of attacks.py, made in code: pickles that would run a command, pickles and
archives that would fill memory, archives that two readers understand differently, sizes that lie.

    hostile_files.py FOLDER MARKER GOOD_MODEL

writes them to FOLDER/0, 1, ... with a list, cases.json (the fields of Case). A program of its own, as
some of them take more memory to make than quern may use to refuse them. A live case is a pickle as
well, FOLDER/N.pkl, that creates the file MARKER when Python loads it: attacks.py lets Python do so
first, to know that what quern refuses is the real thing. GOOD_MODEL is a pytorch_model.bin.
"""
import dataclasses
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import zipfile

from torch_files import archive, le, named, stacked, state, storage, tensor, text


@dataclasses.dataclass
class Case:
    name: str
    content: bytes
    live: bytes = b""       # a pickle that runs its command in Python
    code: int = 3           # exit code of inspect and convert: 3 bad input, 5 unsupported
    says: str = ""          # part of the error
    inspects: bool = False  # harmless, or a lie about a tensor's data: only what reads that can know
    file: str = "pytorch_model.bin"  # its name in the model's folder


DATA = bytes(range(64))


def small(elements=16):
    return state({"weight": tensor(storage("FloatStorage", "0", elements), [4, 4], [4, 1])})


def in_zip(data_pkl, *others, method=zipfile.ZIP_STORED):
    return archive([("archive/data.pkl", data_pkl, method), ("archive/data/0", DATA), *others])


def in_legacy(payload):
    """The five pickles of torch before 1.6, the model's being the fourth."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    return (pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2) +
            pickle.dumps(system, 2) + payload + pickle.dumps([], 2))


def central(data, member):
    """Offset of a member's entry in the central directory."""
    at = data.rindex(member.encode()) - 46
    assert data[at:at + 4] == b"PK\x01\x02"
    return at


def local(data, member):
    at = data.index(member.encode()) - 30
    assert data[at:at + 4] == b"PK\x03\x04"
    return at


def patched(data, at, new):
    return data[:at] + new + data[at + len(new):]


# Pickles that run a command.

class Reduce:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def payloads(marker):
    """name -> a pickle that creates `marker` when it is loaded."""
    command = f"touch {marker}"
    code = f"import os; os.system({command!r})"
    made = {}
    for protocol in range(6):
        made[f"os.system, protocol {protocol}"] = pickle.dumps(Reduce(os.system, (command,)), protocol)
    made["eval"] = pickle.dumps(Reduce(eval, (f"__import__('os').system({command!r})",)), 2)
    made["exec"] = pickle.dumps(Reduce(exec, (code,)), 2)
    line = command.encode()
    call = text(command) + b"\x85R."
    run = text("sh") + text("-c") + text(command)
    made |= {
        "REDUCE, text protocol": b"cos\nsystem\n(S'" + line + b"'\ntR.",
        "INST": b"(S'" + line + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + line + b"'\no.",
        "BUILD": (b"\x80\x02" + named("argparse", "Namespace") + b")R}" + text("__setstate__") +
                  named("os", "system") + b"sb" + text(command) + b"b."),
        "NEWOBJ": (b"\x80\x02" + named("builtins", "eval") + b"0" + named("builtins", "map") +
                   named("os", "system") + b"]" + text(command) + b"a\x86\x81" +
                   b"q\x000" + named("builtins", "list") + b"h\x00\x85R."),
        "NEWOBJ_EX": (b"\x80\x04" + named("builtins", "map") + named("os", "system") + b"]" +
                      text(command) + b"a\x86}\x92q\x000" + named("builtins", "list") +
                      b"h\x00\x85R."),
        "STACK_GLOBAL": b"\x80\x04" + stacked("os", "system") + call,
        "STACK_GLOBAL in a frame": (b"\x80\x05\x95" + le(len(stacked("os", "system") + call), 8) +
                                    stacked("os", "system") + call),
        "STACK_GLOBAL of memoized parts": (b"\x80\x04\x8c\x02os\x94\x30\x8c\x06system\x94\x30"
                                           b"h\x00h\x01\x93" + call),
        "STACK_GLOBAL of PUT and MEMOIZE mixed": (b"\x80\x04\x8c\x04mathq\x01\x30\x8c\x02os\x94\x30"
                                                  b"h\x01\x8c\x06system\x93" + call),
        "STACK_GLOBAL of a dotted name": b"\x80\x04" + stacked("shutil", "os.system") + call,
        "memo overwritten": (b"\x80\x02" + named("collections", "OrderedDict") + b"q\x000" +
                             named("os", "system") + b"q\x000h\x00" + call),
        "DUP and POP": (b"\x80\x02" + named("os", "system") + b"2" + text("x") + b"00" + call),
        "import by name": (b"\x80\x02" + named("builtins", "getattr") +
                           named("builtins", "__import__") + text("os") + b"\x85R" +
                           text("system") + b"\x86R" + call),
        "attribute of a module": b"\x80\x04" + stacked("builtins", "getattr") +
                                 stacked("shutil", "os") + text("system") + b"\x86R" + call,
        "subprocess": (b"\x80\x02" + named("subprocess", "call") + b"](" + run + b"e\x85R."),
        "pty": b"\x80\x02" + named("pty", "spawn") + b"](" + run + b"e\x85R.",
        "runpy": (b"\x80\x02" + named("runpy", "_run_code") + named("builtins", "compile") + b"(" +
                  text(code) + text("x") + text("exec") + b"tR}\x86R."),
        "code before garbage": b"\x80\x02" + named("os", "system") + text(command) + b"\x85R\xff\xff",
        "code after a model": (b"\x80\x02}K\x01K\x02s0" + named("os", "system") + text(command) +
                               b"\x85R0}."),
        "factory of a defaultdict": (b"\x80\x02" + named("collections", "defaultdict") +
                                     named("os", "system") + b"\x85R0" + named("os", "system") + call),
        "state of a dict": (b"\x80\x02" + named("collections", "OrderedDict") + b")R}" +
                            text("w") + named("os", "system") + text(command) + b"\x85Rsb."),
        "key of a dict": b"\x80\x02}" + named("os", "system") + text(command) + b"\x85RK\x01s.",
        "numpy's nested pickle": (b"\x80\x02" + named("pickle", "loads") + b"C" +
                                  le(len(b"cos\nsystem\n" + call), 1) + b"cos\nsystem\n" + call +
                                  b"\x85R."),
    }
    return made


def unlive(marker):
    """What only torch, or only another Python, would run."""
    command = text(f"touch {marker}")
    system = named("os", "system")
    return {
        "EXT1": b"\x80\x02\x82\x01" + command + b"\x85R.",
        "EXT2": b"\x80\x02\x83\x01\x01" + command + b"\x85R.",
        "EXT4": b"\x80\x02\x84\x01\x01\x01\x01" + command + b"\x85R.",
        "nt": b"\x80\x02" + named("nt", "system") + command + b"\x85R.",
        "commands": b"\x80\x02" + named("commands", "getoutput") + command + b"\x85R.",
        "__builtin__.execfile": b"\x80\x02" + named("__builtin__", "execfile") + command + b"\x85R.",
        "torch's nested load": (b"\x80\x02" + named("torch.storage", "_load_from_bytes") + b"C\x01." +
                                b"\x85R."),
        "torch.hub": b"\x80\x02" + named("torch.hub", "load") + command + b"\x85R.",
        "torch.jit": b"\x80\x02" + named("torch.jit", "load") + command + b"\x85R.",
        "a module's module": (b"\x80\x02" + named("torch.nn.modules.linear.os", "system") + command +
                              b"\x85R."),
        "a dotted name in a module": (b"\x80\x02" + named("torch.nn.modules.linear", "os.system") +
                                      command + b"\x85R."),
        "a tensor type's function": (b"\x80\x02" + named("torch._tensor", "_rebuild_from_type_v2") +
                                     b"(" + system + named("torch", "Tensor") + command + b"\x85}tR."),
        "a call of a text": b"\x80\x02" + text("os.system") + command + b"\x85R.",
        "a call of a number": b"\x80\x02K\x01" + command + b"\x85R.",
        "a call of a storage": (b"\x80\x02" + named("torch", "FloatStorage") + command + b"\x85R."),
        "a persistent id": b"\x80\x02" + text("os.system") + b"Q.",
        "a persistent id in text": b"Pos.system\n.",
        "a persistent id with a class": (b"\x80\x02(" + text("storage") + system + text("0") +
                                         text("cpu") + b"K\x10tQ."),
        "SETITEM on a tensor": (b"\x80\x02" + tensor(storage("FloatStorage", "0", 16), [4], [1]) +
                                text("a") + text("b") + b"s."),
        "BUILD on a list": b"\x80\x02]}b.",
        "memo of nothing": b"\x80\x02h\x07.",
        "a mark too few": b"\x80\x02t.",
        "odd items": b"\x80\x02}(K\x01u.",
        "an opcode that does not exist": b"\x80\x02\xf0.",
        "protocol 9": b"\x80\x09N.",
        "out-of-band data": b"\x80\x05\x97.",
    }


# Pickles and archives that would fill memory, or take forever.

def bombs():
    doubled = b"\x80\x02]q\x000" + b"".join(
        b"(h" + bytes([i]) + b"h" + bytes([i]) + b"lq" + bytes([i + 1]) + b"0" for i in range(60))
    copies = (b"\x80\x02](" + b"N" * 50_000 + b"eq\x000(" +
              (named("builtins", "list") + b"h\x00\x85R") * 2_000 + b"t.")
    deflated = zipfile.ZIP_DEFLATED
    many = b"\x80\x02}(" + b"".join(
        text(f"w{i}") + tensor(storage("FloatStorage", "0", 16), [4, 4], [4, 1])
        for i in range(2_000)) + b"u."
    return {
        "60 doublings of a list": in_zip(doubled + b"h\x3c."),
        "copies of a list": in_zip(copies),
        "million lists": in_zip(b"\x80\x02(" + b"]" * 6_000_000 + b"t."),
        "million marks": in_zip(b"\x80\x02" + b"(" * 6_000_000 + b"N."),
        "million lists, deflated": in_zip(b"\x80\x02(" + b"]" * 40_000_000 + b"t.", method=deflated),
        "long text, deflated": in_zip(b"\x80\x02\x8d" + le(200 << 20, 8) + bytes(200 << 20) + b"N.",
                                      method=deflated),
        "depth of a million": in_zip(b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."),
        "memo index of 4 billion": in_zip(b"\x80\x02Nr\xff\xff\xff\xff."),
        "memo index in text": in_zip(b"Np18446744073709551615\n."),
        "integer of a million digits": in_zip(b"I" + b"9" * 1_000_000 + b"\n."),
        "LONG4 of 2 GiB": in_zip(b"\x80\x02\x8b\xff\xff\xff\x7f1."),
        "BINUNICODE of 4 GiB": in_zip(b"\x80\x02X\xff\xff\xff\xffa."),
        "BINUNICODE8 of 2^64": in_zip(b"\x80\x04\x8d" + b"\xff" * 8 + b"a."),
        "BINBYTES8 of 2^63": in_zip(b"\x80\x04\x8e" + le(1 << 63, 8) + b"a."),
        "BYTEARRAY8 of 2^40": in_zip(b"\x80\x05\x96" + le(1 << 40, 8) + b"a."),
        "FRAME of 2^62": in_zip(b"\x80\x05\x95" + le(1 << 62, 8) + b"N."),
        "line without an end": in_zip(b"S'" + b"a" * 5_000_000),
        "no tensor's data": in_zip(many.replace(text("0"), text("9"))),
        "million members": many_members(200_000),
    }


def many_members(count):
    """Central entries of `count` empty members that all claim one local header."""
    head = struct.pack("<IHHHHHIIIHH", 0x04034b50, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0,
                        0, 0)
    entries = b"".join(entry + b"%06d" % i for i in range(count))
    end = struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff, len(entries), len(head), 0)
    return head + entries + end


# Archives that two readers understand differently.

UNSUPPORTED = {"out-of-band data", "method 99", "TorchScript", "tar"}


def differentials():
    good = in_zip(small())
    at, here = central(good, "archive/data/0"), local(good, "archive/data/0")
    pkl, pkl_here = central(good, "archive/data.pkl"), local(good, "archive/data.pkl")
    end = good.rindex(b"PK\x05\x06")
    other = b"evil/data.pklx"
    link = zipfile.ZipInfo("archive/data/0")
    link.external_attr = 0o120777 << 16
    link.create_system = 3
    comment = good[end:end + 20] + b"\x00\x00"
    squeezed = archive([("archive/data.pkl", small(1 << 18)),
                        ("archive/data/0", bytes(1 << 20), zipfile.ZIP_DEFLATED)])
    big = central(squeezed, "archive/data/0")
    big_here = local(squeezed, "archive/data/0")
    huge = struct.pack("<I", 0x40000000)
    made = {
        "local name differs": patched(good, here + 30, other),
        "encrypted flag": patched(good, at + 8, b"\x01"),
        "encrypted flag in one header": patched(good, here + 6, b"\x01"),
        "pickle's CRC": patched(good, pkl + 16, b"\0\0\0\0"),
        "pickle's CRC in both headers": patched(patched(good, pkl + 16, b"abcd"), pkl_here + 14, b"abcd"),
        "local offset": patched(good, at + 42, struct.pack("<I", 0)),
        "local offset beyond the end": patched(good, at + 42, b"\xfe\xff\xff\xff"),
        "overlapping members": patched(good, at + 42, struct.pack("<I", pkl_here)),
        "sizes differ": patched(good, here + 18, struct.pack("<II", 8, 8)),
        "method 99": patched(good, at + 10, b"\x63"),
        "second pickle": in_zip(small(), ("other/data.pkl", small())),
        "second pickle in other letters": in_zip(small(), ("archive/DATA.PKL", small())),
        "only pickle in other letters": archive([("archive/Data.pkl", small()), ("archive/data/0", DATA)]),
        "member named twice": in_zip(small(), ("archive/data/0", DATA)),
        "end record in the comment": good[:end + 20] + le(22, 2) + comment,
        "bytes before the archive": b"#!/bin/sh\n" + good,
        "bytes before the archive, offsets kept": b"PK\x03\x04" + bytes(60) + good,
        "bytes after the archive": good + b"trailing",
        "bytes between members": good[:here] + bytes(8) + good[here:],
        "entries do not fit": patched(good, end + 8, b"\xff\xff\xff\xff"),
        "directory beyond the end": patched(good, end + 16, b"\xf0\xff\xff\xff"),
        "name leaves the folder": in_zip(small(), ("../../x", b"")),
        "absolute name": in_zip(small(), ("/etc/passwd", b"")),
        "name with a backslash": in_zip(small(), ("archive\\..\\x", b"")),
        "symbolic link": archive([("archive/data.pkl", small()), (link, b"/etc/passwd")]),
        "deflate bomb in a member": patched(patched(squeezed, big + 24, huge), big_here + 22, huge),
        "deflated data is short": patched(patched(squeezed, big + 24, struct.pack("<I", 1 << 20 | 64)),
                                          big_here + 22, struct.pack("<I", 1 << 20 | 64)),
        "another archive": archive([("word/document.xml", b"<x/>")]),
        "empty archive": archive([]),
        "cut short": good[:-30],
        "TorchScript": in_zip(small(), ("archive/constants.pkl", small())),
    }
    return made


def lies():
    """Sizes that the bytes do not bear out."""
    store = storage
    two = [1 << 32, 1 << 32]
    big = 1 << 40
    one = lambda *arguments, **options: in_zip(state({"weight": tensor(*arguments, **options)}))
    legacy = small(1 << 30)
    made = {
        "storage of 2^40": one(store("FloatStorage", "0", big), [big], [1]),
        "storage of 2^62": one(store("FloatStorage", "0", 1 << 62), [4], [1]),
        "storage of -1": one(store("FloatStorage", "0", -1), [4], [1]),
        "storage of 15": one(store("FloatStorage", "0", 15), [3, 5], [5, 1]),
        "storage of other type": one(store("DoubleStorage", "0", 16), [4, 4], [4, 1]),
        "storage without a member": one(store("FloatStorage", "1", 16), [4, 4], [4, 1]),
        "shape of 2^64": one(store("FloatStorage", "0", 16), two, [0, 0]),
        "shape of 2^64 with a 0": one(store("FloatStorage", "0", 16), [0, *two], [0, 0, 0]),
        "shape of 2^45": one(store("FloatStorage", "0", 16), [1 << 22, 1 << 23], [0, 0]),
        "shape beyond the storage": one(store("FloatStorage", "0", 16), [4, 5], [4, 1]),
        "stride beyond the storage": one(store("FloatStorage", "0", 16), [4, 4], [5, 1]),
        "stride of 2^62": one(store("FloatStorage", "0", 16), [4, 4], [1 << 62, 1]),
        "negative stride": one(store("FloatStorage", "0", 16), [4, 4], [4, -1]),
        "offset beyond the storage": one(store("FloatStorage", "0", 16), [4, 4], [4, 1], offset=1),
        "offset of 2^63 - 1": one(store("FloatStorage", "0", 16), [4], [1], offset=(1 << 63) - 1),
        "offset of -1": one(store("FloatStorage", "0", 16), [4], [1], offset=-1),
        "65 dimensions": one(store("FloatStorage", "0", 16), [1] * 65, [1] * 65),
        "legacy storage of 4 GiB": in_legacy(legacy)[:-len(pickle.dumps([], 2))] +
                                   pickle.dumps(["0"], 2) + struct.pack("<q", 1 << 30),
        "legacy storage of 2^61": in_legacy(small(1 << 61))[:-len(pickle.dumps([], 2))] +
                                  pickle.dumps(["0"], 2) + struct.pack("<q", 1 << 61) + DATA,
        "legacy storage keys missing": in_legacy(small()),
    }
    return made


def other_formats():
    """(file name, content): headers of other formats that lie about their sizes."""
    gguf = b"GGUF" + le(3, 4)
    safetensors = b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
    npy = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }\n" % (1 << 60)
    return {
        "GGUF: 2^64-1 tensors": ("model.gguf", gguf + b"\xff" * 8 + le(0, 8)),
        "GGUF: 2^64-1 keys": ("model.gguf", gguf + le(0, 8) + b"\xff" * 8),
        "GGUF: array of 2^60": ("model.gguf", gguf + le(0, 8) + le(1, 8) + le(1, 8) + b"a" + le(9, 4) +
                                le(8, 4) + le(1 << 60, 8)),
        "GGUF: text of 1 GiB": ("model.gguf", gguf + le(0, 8) + le(1, 8) + le(1, 8) + b"a" + le(8, 4) +
                                le(1 << 30, 8) + b"b"),
        "GGUF: arrays in arrays": ("model.gguf", gguf + le(0, 8) + le(1, 8) + le(1, 8) + b"a" +
                                   le(9, 4) + (le(9, 4) + le(1, 8)) * 100_000),
        "safetensors: header of 2^63": ("model.safetensors", le(1 << 63, 8) + b"{}"),
        "safetensors: header of 2^64-1": ("model.safetensors", b"\xff" * 8 + b"{}"),
        "safetensors: shape of 2^64": ("model.safetensors",
                                       le(len(safetensors), 8) + safetensors),
        "safetensors: depth 10^5": ("model.safetensors",
                                    le(200_000, 8) + b'{"a":' + b"[" * 199_995),
        "npy: shape of 2^60": ("model.npy", b"\x93NUMPY\x01\0" + le(len(npy), 2) + npy),
        "GGML: vocabulary of 2^31": ("model.bin", b"tjgg" + le(3, 4) + le(1 << 31, 4) + bytes(60)),
        "tar": ("pytorch_model.bin", b"storages" + bytes(92) + b"0000644\0" + bytes(149) +
                b"ustar\x0000" + bytes(247 + 512)),
    }


def lies_about_data(good):
    """A whole model, but for what only reading a tensor shows."""
    with zipfile.ZipFile(io.BytesIO(good)) as source:
        members = [(info.filename, source.read(info)) for info in source.infolist()]
    largest = max(members, key=lambda member: len(member[1]))[0]
    plain = archive(members)
    squeezed = archive([(*member, zipfile.ZIP_DEFLATED) if member[0] == largest else member
                        for member in members])
    at = local(squeezed, largest)
    data = at + 30 + len(largest)
    bytes_in_file = struct.unpack_from("<I", squeezed, at + 18)[0]
    return {
        "data's CRC": patched(patched(plain, local(plain, largest) + 14, b"abcd"),
                              central(plain, largest) + 16, b"abcd"),
        "deflated data's CRC": patched(patched(squeezed, at + 14, b"abcd"),
                                       central(squeezed, largest) + 16, b"abcd"),
        "deflated data is garbage": patched(squeezed, data, b"\xff" * 16),
        "deflated data ends early": patched(squeezed, data, b"\x03\x00" + bytes(bytes_in_file - 2)),
        "bit of the data": patched(plain, local(plain, largest) + 30 + len(largest) + 100, b"\x55\xaa"),
    }


def cases(marker, good):
    made = []
    for name, payload in payloads(marker).items():
        made.append(Case("zip: " + name, in_zip(payload), live=payload, says="opcode at byte"))
        made.append(Case("legacy: " + name, in_legacy(payload), says="opcode at byte"))
        made.append(Case("deflated: " + name, in_zip(payload, method=zipfile.ZIP_DEFLATED)))
    for name, payload in unlive(marker).items():
        made.append(Case("zip: " + name, in_zip(payload)))
        made.append(Case("legacy: " + name, in_legacy(payload)))
    system = payloads(marker)["os.system, protocol 2"]
    made.append(Case("raw pickle", system, live=system))
    made.append(Case("7z", b"7z\xbc\xaf\x27\x1c" + bytes(100)))
    made.append(Case("payload beside the weights", in_zip(small(), ("archive/data.pkl.bak", system),
                                                          ("archive/extra", system)), inspects=True))
    made += [Case("bomb: " + name, content) for name, content in bombs().items()]
    made += [Case("zip: " + name, content) for name, content in differentials().items()]
    made += [Case("lie: " + name, content) for name, content in lies().items()]
    made += [Case("lie: " + name, content, inspects=True)
             for name, content in lies_about_data(good).items()]
    made += [Case(name, content, file=file) for name, (file, content) in other_formats().items()]
    for case in made:
        if case.name.split(": ")[-1] in UNSUPPORTED:
            case.code = 5
        case.inspects = case.inspects or case.name == "bomb: integer of a million digits"
    return made


def main():
    folder, marker, good = map(pathlib.Path, sys.argv[1:])
    made = cases(marker, good.read_bytes())
    for i, case in enumerate(made):
        (folder / str(i)).write_bytes(case.content)
        (folder / f"{i}.pkl").write_bytes(case.live)
        case.content, case.live = None, bool(case.live)
    (folder / "cases.json").write_text(json.dumps([dataclasses.asdict(case) for case in made]))


if __name__ == "__main__":
    main()
