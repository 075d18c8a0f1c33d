"""Which files are recordings, by name; what is in one is told by its content, not by its name."""

from __future__ import annotations

SNDFILE_SUFFIXES = frozenset(
    {
        ".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".flac", ".ogg", ".oga", ".opus",
        ".mp3", ".mp2", ".mp1", ".mpga", ".caf", ".au", ".snd", ".voc", ".iff", ".8svx", ".svx", ".paf", ".fap",
        ".sf", ".ircam", ".sds", ".sd2", ".xi", ".avr", ".pvf", ".sph", ".nist", ".htk", ".wve", ".mat",
    }
)  # fmt: skip
"""Names of the formats that libsndfile reads."""
PYAV_SUFFIXES = frozenset(
    {
        ".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".aac", ".adts", ".ac3", ".eac3", ".dts",
        ".wma", ".wmv", ".asf", ".mka", ".mkv", ".webm", ".avi", ".flv", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts",
        ".ape", ".wv", ".tta", ".tak", ".mpc", ".amr", ".ra", ".rm", ".dsf", ".dff",
    }
)  # fmt: skip
"""Names of the formats whose sound PyAV (FFmpeg) reads, and libsndfile does not."""
CLOSED_SUFFIXES = frozenset({".rex", ".rx2", ".rcy", ".aup", ".aup3", ".ptx", ".band", ".logicx"})
"""Loops and projects of programs that keep their format to themselves: named instead of passed over."""

_FORMAT_OF_SUFFIX = {
    ".wav": "WAV", ".wave": "WAV", ".bwf": "WAV", ".rf64": "WAV", ".w64": "W64", ".aif": "AIFF", ".aiff": "AIFF",
    ".aifc": "AIFF", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3", ".mp2": "MP3",
    ".mp1": "MP3", ".mpga": "MP3", ".caf": "CAF", ".au": "AU",
}  # fmt: skip


def is_recording(suffix: str) -> bool:
    return suffix.lower() in SNDFILE_SUFFIXES | PYAV_SUFFIXES


def plain_name(container: str) -> str:
    """libsndfile's name of a container, variants of WAV as one."""
    return "WAV" if container in {"WAV", "WAVEX", "RF64"} else container


def suffix_belies(suffix: str, container: str) -> bool:
    """Whether the name says another format than the one inside (a FLAC named .wav)."""
    return _FORMAT_OF_SUFFIX.get(suffix.lower(), container) != container
