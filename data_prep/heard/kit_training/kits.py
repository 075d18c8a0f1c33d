"""The kits that the classifier is trained and tested on, what each file of them is, and by what right.

Only sound under a licence without copyleft, or with an exception for what is made with the sounds, trains; the rest
only tests. No sound enters the package, only what was learned of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kit:
    """One kit: where its files lie below the folder the packages were unpacked into, and what they are.

    `package` is a Debian package, or a repository with its commit.

    `named` are patterns of file names (paths below `folder`) whose words do not say it; None leaves a file out. Of
    every sound at most `most` files are taken, spread over the order of their names.
    """

    name: str
    package: str
    folder: str
    licence: str
    trains: bool
    files: str = "*"
    named: tuple[tuple[str, str | None], ...] = ()
    most: int = 1000


PLAY_GROOVES = ("Sonic Pi", "Audiophob", "Fluid R3", "Freepats", "Colombo")
"""Kits whose sounds make the music that the ear for music learns from."""

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

_GITHUB = "https://github.com/"
_CSOUND = (
    ("808 Hat", "closed hat"), ("808 Snare", "snare"), ("E Snare", "snare"), ("Bass Drum New", "kick"),
    ("Kick Verb", "kick"),
    ("Snare*", "snare"), ("Brush Snare", "snare"), ("Acoustic Tom", "tom"), ("Med Crash*", "crash"),
    ("ChinaCrash*", "crash"), ("Ride*", "ride"), ("High Hat*", "closed hat"), ("Open High Hat", "open hat"),
    ("Claps*", "clap"),
    ("Wood Block", "wood"), ("*Claves", "wood"), ("Castanets", "wood"), ("Cowbell*", "metal"), ("Agogo*", "metal"),
    ("Mute Triangle", "metal"), ("Cabasa", "shaken"), ("Maracas", "shaken"), ("Sleigh Bells", "shaken"),
    ("Brass Tambourine", "shaken"), ("? Bongo*", "hand drum"), ("Quinto*", "hand drum"), ("Low Tumba*", "hand drum"),
    ("*", None),
)  # fmt: skip
_WORLD = (
    ("Bongos*", "hand drum"), ("Cajon*", "hand drum"), ("*Conga*", "hand drum"), ("Darbuka*", "hand drum"),
    ("Castanets*", "wood"), ("Claves*", "wood"), ("EggShaker*", "shaken"), ("Maracas*", "shaken"),
    ("Tambourine*", "shaken"), ("HandClap*", "clap"),
)  # fmt: skip
_FRANKENSNARE = (
    ("*/ss_*", "side stick"), ("*_basic/oh/sn_*", "snare"), ("*_rimshot/oh/sn_*", "snare"),
    ("*_tight/oh/sn_*", "snare"), ("*_muted/oh/sn_*", "snare"), ("*_brush/oh/sn_*", "snare"), ("*", None),
)  # fmt: skip
_GOGODZE = (
    ("oh_mic/ks_*", "kick"), ("front_mic/ks_*", "kick"), ("oh_mic/s[ce]_*", "snare"), ("front_mic/s[ce]_*", "snare"),
    ("oh_mic/ss_*", "side stick"), ("oh_mic/t[hml]_*", "tom"), ("front_mic/t[hml]_*", "tom"),
    ("oh_mic/h[ftc]_*", "closed hat"), ("side_mic/h[ftc]_*", "closed hat"), ("oh_mic/h[hlo]_*", "open hat"),
    ("side_mic/h[hlo]_*", "open hat"), ("*", None),
)  # fmt: skip
_UZU = (
    ("bd/*", "kick"), ("sd/*", "snare"), ("hh/*", "closed hat"), ("oh/*", "open hat"), ("?t/*", "tom"),
    ("cr/*", "crash"), ("rd/*", "ride"), ("cp/*", "clap"), ("cb/*", "metal"), ("sh/*", "shaken"),
    ("rim/*", "side stick"), ("*", None),
)  # fmt: skip

KITS = (
    Kit("Sonic Pi", "sonic-pi-samples", "usr/share/sonic-pi/samples", "CC0-1.0", True, "*.flac", _SONIC_PI),
    Kit("Audiophob", "hydrogen-drumkits", f"{_HYDROGEN}/Audiophob", "CC0-1.0", True, "*.wav", _AUDIOPHOB),
    Kit("Fluid R3", "fluid-soundfont-gm", "usr/share/sounds/sf2", "MIT", True, "FluidR3_GM.sf2",
        (("Brush Swirl*", None), ("Brush Snr*", "snare"))),
    Kit("CSound GM", "csound-soundfont", "usr/share/sounds/sf2", "public domain", True, "sf_GMbank.sf2", _CSOUND),
    Kit("Freepats", "freepats", "usr/share/midi/freepats/Drum_000", "GPL-2+ with exception for what is made with it",
        True, "*.pat"),
    Kit("Colombo", "hydrogen-drumkits", f"{_HYDROGEN}/ColomboAcousticDrumkit",
        "GPL-2+ with exception for what is made with it", True, "*.flac", (("*ride*", "ride"),)),
    Kit("World percussion", f"{_GITHUB}freepats/world-percussion/tree/e54eb29",
        "github/freepats/world-percussion/samples",
        "CC0-1.0", True, "*/*.*", _WORLD, 48),
    Kit("Synthesizer percussion", f"{_GITHUB}freepats/synthesizer-percussion/tree/39bbabc",
        "github/freepats/synthesizer-percussion/samples", "CC0-1.0", True, "*.flac", (("Cymbal*", "crash"),)),
    Kit("Muldjord", f"{_GITHUB}freepats/muldjordkit/tree/719fe72", "github/freepats/muldjordkit/samples", "CC-BY-4.0",
        True,
        "*/*.flac", (("Kdrum*", "kick"), ("China*", "crash"), ("SnareRest*", None)), 16),
    Kit("Frankensnare", f"{_GITHUB}sfzinstruments/karoryfer.frankensnare/tree/9151c2d",
        "github/sfzinstruments/karoryfer.frankensnare/Samples", "CC0-1.0", True, "*/oh/*.flac", _FRANKENSNARE, 40),
    Kit("Gogodze Phu I", f"{_GITHUB}sfzinstruments/karoryfer.gogodze-phu-vol-i/tree/7452f62",
        "github/sfzinstruments/karoryfer.gogodze-phu-vol-i/Samples", "CC0-1.0", True, "**/*.wav",
        (("bobobo/*", "hand drum"), ("cajon/cnd/cajon_s??_*", "hand drum"), ("*", None)), 48),
    Kit("Gogodze Phu II", f"{_GITHUB}sfzinstruments/karoryfer.gogodze-phu-vol-ii/tree/69a0274",
        "github/sfzinstruments/karoryfer.gogodze-phu-vol-ii/Samples", "CC0-1.0", True, "*/*.wav", _GOGODZE, 16),
    Kit("Body percussion", f"{_GITHUB}sfzinstruments/body_percussion/tree/4ac9d89",
        "github/sfzinstruments/body_percussion/Samples/body", "CC0-1.0", True, "*.wav",
        (("handclap*", "clap"), ("fingerclap*", "clap"), ("snap*", "clap"), ("*", None)), 20),
    Kit("uzu", f"{_GITHUB}tidalcycles/uzu-drumkit/tree/2f3e05c",
        "github/tidalcycles/uzu-drumkit", "Unlicense", True,
        "*/*.wav", _UZU),
    Kit("Pearl Master Studio", f"{_GITHUB}oramics/sampled/tree/84d3405",
        "github/oramics/sampled/DRUMS/pearl-master-studio/samples",
        "CC-BY-3.0", True, "*.wav"),
    Kit("CR-78", f"{_GITHUB}oramics/sampled/tree/84d3405",
        "github/oramics/sampled/DM/CR-78/samples",
        "public domain, its collector says", False, "*.wav", (("hihat*", "closed hat"), ("rim", "side stick"))),
    Kit("LM-2", f"{_GITHUB}oramics/sampled/tree/84d3405",
        "github/oramics/sampled/DM/LM-2/samples",
        "public domain, its collector says", False, "*.wav", (("cowb", "metal"), ("tamb", "shaken"))),
    Kit("MRK-2", f"{_GITHUB}oramics/sampled/tree/84d3405",
        "github/oramics/sampled/DM/MRK-2/samples",
        "public domain, its collector says", False, "*.wav", (("block", "wood"), ("cymball*", "crash"))),
    Kit("TR-505", f"{_GITHUB}oramics/sampled/tree/84d3405",
        "github/oramics/sampled/DM/TR-505/samples",
        "public domain, its collector says", False, "*.wav",
        (("*cowb*", "metal"), ("*rim", "side stick"), ("*timbal", None))),
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
