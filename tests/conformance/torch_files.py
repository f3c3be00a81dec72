"""Files as torch.save writes them, made without torch: pickles and zip archives, byte by byte."""
import io
import struct
import warnings
import zipfile


def le(value, count):
    return value.to_bytes(count, "little")


def text(value):
    raw = value.encode()
    return b"X" + le(len(raw), 4) + raw


def named(module, name):
    """GLOBAL: protocols 0 to 3."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def stacked(module, name):
    """STACK_GLOBAL: protocols 4 and 5."""
    def short(value):
        return b"\x8c" + le(len(value), 1) + value.encode()
    return short(module) + short(name) + b"\x93"


def storage(kind, key, elements):
    return (b"(" + text("storage") + named("torch", kind) + text(key) + text("cpu") +
            b"\x8a\x08" + struct.pack("<q", elements) + b"tQ")


def ints(values):
    return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", v) for v in values) + b"t"


def tensor(store, shape, strides, offset=0):
    return (named("torch._utils", "_rebuild_tensor_v2") + b"(" + store + b"\x8a\x08" +
            struct.pack("<q", offset) + ints(shape) + ints(strides) + b"\x89" +
            named("collections", "OrderedDict") + b")RtR")


def state(items):
    body = b"".join(text(name) + value for name, value in items.items())
    return b"\x80\x02}(" + body + b"u."


def archive(members):
    """A zip of (name or ZipInfo, content[, method]) in the order given, as torch writes it."""
    out = io.BytesIO()
    warnings.simplefilter("ignore", UserWarning)  # of names that come twice
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        for name, content, *method in members:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = method[0] if method else zipfile.ZIP_STORED
            target.writestr(info, content)
    return out.getvalue()
