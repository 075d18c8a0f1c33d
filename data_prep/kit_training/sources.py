"""The kits that the classifier is trained and tested on: Debian packages, what each file of them is, and by what right.

Only sound under a licence without copyleft, or with an exception for what is made with the sounds, trains; the rest
only tests. No sound enters the package, only what was learned of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import soundfile
import soxr

from data_prep.kit_training.sampled import Sampled, gus_patch, soundfont_drums
from data_prep.recording import SAMPLE_RATE

KIT_PIECES = {
    "kick": "kick", "snare": "snare", "side stick": None, "closed hat": "hat", "open hat": "hat", "tom": "tom",
    "crash": "cymbal", "ride": "cymbal", "hand drum": "hand percussion", "metal": "hand percussion",
    "wood": "hand percussion", "shaken": "hand percussion", "clap": "hand percussion",
}  # fmt: skip
"""What is told apart -> the piece that is claimed; a side stick sounds like a woodblock, and nothing is claimed."""
SOUNDS = tuple(KIT_PIECES)

WORDS = (
    (r"empty|roll|whistle|glass|fx|snare ?off|quica|noise|guiro|timbale|vibra|taiko|click(?!.*rim)", None),
    (r"side ?stick|stick rim|rim ?click|rim tap|^stick|stick woody|nasty rim|^rim\d", "side stick"),
    (r"hand ?clap|clap|snap", "clap"),
    (r"cow ?bell|agogo|triangle|bell mute|bell hit|dununba. bell|perc bell\d?|elec bell|mc cb", "metal"),
    (r"tambourine|shaker|maraca|cabasa|shake", "shaken"),
    (r"clav|wood|castanet", "wood"),
    (r"tabla|bongo|conga|cajon|djembe|head (hit|mute)", "hand drum"),
    (r"pedal|foot|closed|chh|hat.*(cl|pd)|hh closed|hat choke", "closed hat"),
    (r"hat.*(open|op|swish|ring)|ohh|opened|openhat|semi|half", "open hat"),
    (r"cymbal (closed|pedal)", "closed hat"),
    (r"cymbal open", "open hat"),
    (r"splash|crash|china|cymbal|cra ", "crash"),
    (r"ride|paiste", "ride"),
    (r"snare|^sn |^sd ", "snare"),
    (r"kick|bass ?drum|^bd|pearlkick", "kick"),
    (r"tom", "tom"),
)
GENERAL_MIDI = (
    ((35, 36), "kick"), ((37,), "side stick"), ((38, 40), "snare"), ((26, 39), "clap"),
    ((41, 43, 45, 47, 48, 50), "tom"), ((42, 44), "closed hat"), ((46,), "open hat"), ((49, 52, 55, 57), "crash"),
    ((51, 53, 59), "ride"), ((54, 69, 70, 82, 83), "shaken"), ((56, 67, 68, 80, 81), "metal"),
    ((60, 61, 62, 63, 64), "hand drum"), ((75, 76, 77, 85), "wood"),
)  # fmt: skip


LOWEST_RATE = 22_050


@dataclass(frozen=True)
class Kit:
    """One kit: where its files lie below the folder the packages were unpacked into, and what they are.

    `named` are patterns of file names whose words do not say it; None leaves a file out.
    """

    name: str
    package: str
    folder: str
    licence: str
    trains: bool
    files: str = "*"
    named: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class Hit:
    """A single hit, (2, samples) float32 at 44.1 kHz, what it is, and which file it comes from."""

    kit: str
    name: str
    sound: str
    samples: np.ndarray
    sha256: str


_HYDROGEN = "usr/share/hydrogen/data/drumkits"
_SONIC_PI = (
    ("drum_cymbal_closed", "closed hat"), ("drum_cymbal_pedal", "closed hat"), ("drum_cymbal_open", "open hat"),
    ("drum_cymbal_*", "crash"), ("drum_bass*", "kick"), ("drum_heavy_kick", "kick"), ("drum_snare*", "snare"),
    ("drum_tom*", "tom"), ("drum_splash*", "crash"), ("drum_cowbell", "metal"), ("bd_*", "kick"),
    ("sn_*", "snare"), ("elec_*kick", "kick"),
    ("elec_*snare", "snare"), ("elec_cymbal", "crash"), ("elec_fuzz_tom", "tom"), ("elec_triangle", "metal"),
    ("elec_bell", "metal"), ("elec_wood", "wood"), ("tabla_*", "hand drum"), ("perc_bell*", "metal"),
    ("perc_snap*", "clap"), ("*", None),
)  # fmt: skip
_AUDIOPHOB = (
    ("124382*", "snare"), ("25671*", "snare"), ("*tomh", "tom"), ("116973*", "closed hat"),
    ("104227*", "open hat"), ("124101*", "crash"), ("*", None),
)  # fmt: skip
_MILLO3 = (
    ("bd_*", "kick"), ("cc_*", "crash"), ("rc_*", "ride"), ("sd_*", "snare"), ("ho_*", "open hat"),
    ("hh_*", "closed hat"), ("ft_*", "tom"), ("t?_*", "tom"), ("*", None),
)  # fmt: skip
_PACIFIC = (
    ("BD_*", "kick"), ("SN3_*", None), ("SN4_*", None), ("SN*", "snare"), ("HH_*", "closed hat"), ("HH?_*", "open hat"),
    ("TM*", "tom"), ("CB*", "crash"), ("RD*", "ride"), ("BL_*", "ride"),
)  # fmt: skip

KITS = (
    Kit("Sonic Pi", "sonic-pi-samples", "usr/share/sonic-pi/samples", "CC0-1.0", True, "*.flac", _SONIC_PI),
    Kit("Audiophob", "hydrogen-drumkits", f"{_HYDROGEN}/Audiophob", "CC0-1.0", True, "*.wav", _AUDIOPHOB),
    Kit("Fluid R3", "fluid-soundfont-gm", "usr/share/sounds/sf2", "MIT", True, "FluidR3_GM.sf2",
        (("Brush Swirl*", None), ("Brush Snr*", "snare"))),
    Kit("Freepats", "freepats", "usr/share/midi/freepats/Drum_000", "GPL-2+ with exception for what is made with it",
        True, "*.pat"),
    Kit("Colombo", "hydrogen-drumkits", f"{_HYDROGEN}/ColomboAcousticDrumkit",
        "GPL-2+ with exception for what is made with it", True, "*.flac", (("*ride*", "ride"),)),
    Kit("Pacific", "hydrogen-drumkits", f"{_HYDROGEN}/BJA_Pacific", "CC-BY-SA-3.0-US", False, "*.aiff", _PACIFIC),
    Kit("Electric Empire", "hydrogen-drumkits", f"{_HYDROGEN}/ElectricEmpireKit", "GPL-2+", False, "*.flac",
        (("EE_Drum*", None), ("EE_Hat_Low", None), ("EE_Hat_Ring*", None))),
    Kit("Forzee", "hydrogen-drumkits", f"{_HYDROGEN}/ForzeeStereo", "GPL-2", False, "*.wav",
        (("CrashRide18-*", "crash"), ("CrashRide*", "ride"))),
    Kit("Gimme a Hand", "hydrogen-drumkits", f"{_HYDROGEN}/Gimme A Hand 1.0", "GPL-2", False, "*.wav"),
    Kit("Hard Electro", "hydrogen-drumkits", f"{_HYDROGEN}/HardElectro1", "GPL-2+", False, "*.flac",
        (("HardHse_K*", "kick"), ("PowR_BD*", "kick"), ("PowR_SN*", "snare"), ("PowR_HH*", None), ("?FX*", None),
         ("FX*", None))),
    Kit("Millo 1", "hydrogen-drumkits", f"{_HYDROGEN}/Millo-Drums_v.1", "GPL-2", False, "*.flac"),
    Kit("Millo 2", "hydrogen-drumkits", f"{_HYDROGEN}/Millo_MultiLayered2", "GPL-2", False, "*.flac",
        (("rim_*", None),)),
    Kit("Millo 3", "hydrogen-drumkits", f"{_HYDROGEN}/Millo_MultiLayered3", "GPL-2", False, "*.flac", _MILLO3),
    Kit("Black Pearl", "hydrogen-drumkits", f"{_HYDROGEN}/The Black Pearl 1.0", "GPL-2", False, "*.wav"),
    Kit("VariBreaks", "hydrogen-drumkits", f"{_HYDROGEN}/VariBreaks", "GPL-2+", False, "*.flac",
        (("VP Drum", None),)),
    Kit("circAfrique", "hydrogen-drumkits", f"{_HYDROGEN}/circAfrique v4", "CC-BY-SA-3.0", False, "*.wav"),
    Kit("GM Rock", "hydrogen-data", f"{_HYDROGEN}/GMRockKit", "GPL-2+", False, "*.wav", (("Bell-*", "ride"),)),
    Kit("TR-808 emulation", "hydrogen-data", f"{_HYDROGEN}/TR808EmulationKit", "GPL-2+", False, "*.flac"),
    Kit("LMMS", "lmms-common", "usr/share/lmms/samples/drums", "GPL-2+", False, "*.ogg",
        (("zap*", None), ("nasty_bass*", None), ("kick04", None))),
)  # fmt: skip


def hits_of(kit: Kit, root: Path) -> Iterator[Hit]:
    """The hits of a kit in order of file name; none where its package is not unpacked below `root`."""
    for path in sorted((root / kit.folder).glob(kit.files)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for found in _read(path, kit):
            sound = _sound_of(found, kit)
            if sound and found.sample_rate >= LOWEST_RATE:
                yield Hit(kit.name, found.name, sound, _stereo(found), digest)


def _read(path: Path, kit: Kit) -> list[Sampled]:
    if path.suffix == ".sf2":
        return soundfont_drums(path)
    if path.suffix == ".pat":
        return [gus_patch(path)]
    unread = Sampled(path.stem, frozenset(), np.zeros((1, 0), np.float32), SAMPLE_RATE)
    if not _sound_of(unread, kit):
        return []
    samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return [Sampled(path.stem, frozenset(), samples.T, sample_rate)]


def _sound_of(found: Sampled, kit: Kit) -> str | None:
    """What a file or a sample is: as the kit says, as the drum map says where its keys agree, or as it is called."""
    for pattern, sound in kit.named:
        if fnmatchcase(found.name, pattern):
            return sound
    if found.keys:
        sounds = {sound for numbers, sound in GENERAL_MIDI if found.keys & set(numbers)}
        return sounds.pop() if len(sounds) == 1 else None
    return sound_of_name(found.name)


def sound_of_name(name: str) -> str | None:
    """What a file is by the words of its name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|_|-", " ", name).lower()
    return next((sound for words, sound in WORDS if re.search(words, spaced)), None)


def _stereo(found: Sampled) -> np.ndarray:
    samples = soxr.resample(found.samples.T, found.sample_rate, SAMPLE_RATE).T
    return np.ascontiguousarray(np.broadcast_to(samples[:2], (2, samples.shape[1])), np.float32)
