"""Pictures, videos, archives and other containers by their first bytes."""

import re
from typing import TYPE_CHECKING

from brain2pix.data.what_is.said import WhatIs, fact, quoted, size_text

if TYPE_CHECKING:
    from pathlib import Path

_PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
_ARCHIVES = {
    b"\x1f\x8b": ("gzip file", "gunzip -k {path}"),
    b"BZh": ("bzip2 file", "bunzip2 -k {path}"),
    b"\xfd7zXZ\0": ("xz file", "unxz -k {path}"),
    b"7z\xbc\xaf\x27\x1c": ("7-zip archive", "7z x {path}"),
    b"Rar!": ("RAR archive", "unrar x {path}"),
}
_TAR_MARK = slice(257, 262)


def describe_media(path: "Path", start: bytes) -> WhatIs | None:
    """Describe a picture, a video, or a packed or foreign file; None if its first bytes say nothing."""
    size = fact("size", size_text(path.stat().st_size))
    picture = _picture(start)
    if picture:
        edges = _edges(picture, start)
        facts = (fact("picture", edges), size) if edges else (size,)
        return WhatIs(f"{picture} picture", facts, ("a stimulus: give its folder as --images to an import",))
    video = _video(start)
    if video:
        return WhatIs(f"{video} video", (size,), ("videos are not imported; save its frames as pictures",))
    for mark, (what, command) in _ARCHIVES.items():
        if start.startswith(mark):
            return WhatIs(what, (size,), (f"unpack it, then inspect what is inside: {command.format(path=quoted(path))}",))
    if start[_TAR_MARK] == b"ustar":
        return WhatIs("tar archive", (size,), (f"unpack it, then inspect what is inside: tar xf {quoted(path)}",))
    if start.startswith(b"%PDF"):
        return WhatIs("PDF document", (size,), ())
    if re.match(rb"\x80[\x02-\x05][\x95}\]cKX(]", start):
        never = "it is never loaded here: a pickle runs code; save its arrays with np.save, or to HDF5"
        return WhatIs("Python pickle", (size,), (never,))
    return None


def _picture(start: bytes) -> str:
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WebP"
    found = next((name for mark, name in _PICTURES.items() if start.startswith(mark)), "")
    # two letters are no mark: the rest of the header must fit too
    return "" if found == "BMP" and (len(start) < 26 or start[6:10] != b"\0\0\0\0") else found


def _edges(kind: str, start: bytes) -> str:
    """Size of a picture where it stands in the first bytes; nothing is decoded."""
    if kind == "PNG" and len(start) >= 24:
        width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    elif kind == "GIF" and len(start) >= 10:
        width, height = (int.from_bytes(start[at : at + 2], "little") for at in (6, 8))
    elif kind == "BMP":
        width, height = int.from_bytes(start[18:22], "little"), abs(int.from_bytes(start[22:26], "little", signed=True))
    elif kind == "JPEG":
        return _jpeg_edges(start)
    else:
        return ""
    return f"{width} x {height} px"


def _jpeg_edges(start: bytes) -> str:
    at = 2
    while at + 9 <= len(start) and start[at] == 0xFF:
        if 0xC0 <= start[at + 1] <= 0xCF and start[at + 1] not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(start[at + more : at + more + 2], "big") for more in (5, 7))
            return f"{width} x {height} px"
        at += 2 + int.from_bytes(start[at + 2 : at + 4], "big")
    return ""


def _video(start: bytes) -> str:
    if start[4:8] == b"ftyp":
        return "QuickTime" if start[8:10] == b"qt" else "MP4"
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return "WebM" if b"webm" in start[:64] else "Matroska"
    if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
        return "AVI"
    return "MPEG" if start.startswith((b"\0\0\1\xba", b"\0\0\1\xb3")) else ""
