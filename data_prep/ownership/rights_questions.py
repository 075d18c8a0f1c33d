"""Questions that a name or a tag raises about rights: a famous break, a vendor of samples, a commercial release.

They are questions and no verdicts: a drummer may play the Amen break, and a folder may be called Splice for the way it
was cut. An answer in rights.yaml (`answered:`) is kept, and the question is not asked again.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FAMOUS_BREAKS = {
    "amen": "Amen, Brother (The Winstons, 1969)",
    "think": "Think (Lyn Collins, 1972)",
    "funky drummer": "Funky Drummer (James Brown, 1970)",
    "apache": "Apache (Incredible Bongo Band, 1973)",
    "hot pants": "Hot Pants (Bobby Byrd, 1971)",
    "impeach": "Impeach the President (The Honey Drippers, 1973)",
    "cold sweat": "Cold Sweat (James Brown, 1967)",
    "soul pride": "Soul Pride (James Brown, 1969)",
    "funky president": "Funky President (James Brown, 1974)",
    "tighten up": "Tighten Up (James Brown, 1969)",
    "synthetic substitution": "Synthetic Substitution (Melvin Bliss, 1973)",
    "ashleys roachclip": "Ashley's Roachclip (The Soul Searchers, 1974)",
    "levee": "When the Levee Breaks (Led Zeppelin, 1971)",
    "skull snaps": "It's a New Day (Skull Snaps, 1973)",
    "big beat": "The Big Beat (Billy Squier, 1980)",
    "funky mule": "Funky Mule (Ike Turner, 1969)",
    "bongo rock": "Bongo Rock (Incredible Bongo Band, 1973)",
    "mardi gras": "Take Me to the Mardi Gras (Bob James, 1975)",
    "nautilus": "Nautilus (Bob James, 1974)",
    "scorpio": "Scorpio (Dennis Coffey, 1971)",
    "sesame street": "Sesame Street (The Blackbyrds, 1974)",
    "blow your head": "Blow Your Head (Fred Wesley, 1974)",
    "assembly line": "Assembly Line (Commodores, 1974)",
    "sneakin in the back": "Sneakin' in the Back (Tom Scott, 1974)",
    "different strokes": "Different Strokes (Syl Johnson, 1967)",
    "purdie shuffle": "the Purdie shuffle, as Bernard Purdie recorded it",
}
VENDORS = (
    "Splice", "Loopmasters", "Vengeance", "Cymatics", "Native Instruments", "Toontrack", "Superior Drummer",
    "EZdrummer", "Addictive Drums", "BFD3", "Goldbaby", "Samples From Mars", "Big Fish Audio", "Zero G", "Prime Loops",
    "Sample Magic", "Black Octopus", "Producer Loops", "Ueberschall", "Drumdrops", "Drum Broker", "Spitfire Audio",
    "Function Loops", "WA Production", "Ghosthack", "Landr", "Noiiz", "Looperman", "Freesound", "Capsun", "KSHMR",
    "Steven Slate", "GetGood Drums", "Sample Phonics", "Sounds of KSHMR", "Drum Depot", "Roland Cloud", "Tracklib",
)  # fmt: skip
_NUMBERS = ("label", "isrc", "barcode", "catalogue_number")


@dataclass(frozen=True)
class Question:
    """`key` is what an answer in rights.yaml is written under."""

    recording: str
    key: str
    question: str

    @property
    def sentence(self) -> str:
        return (
            f"{self.recording}: {self.question} Answer in rights.yaml: answered: {{{self.key}: your words}}"
        )


def questions_about(name: str, tags: dict[str, str], answered: dict[str, str]) -> list[Question]:
    """Of the recording `name` (POSIX path) with its embedded texts; those in `answered` are left out."""
    said = [
        name,
        *(tags.get(key, "") for key in ("title", "album", "artist", "comment", "label", "description")),
    ]
    words = " ".join(_plain(text) for text in said)
    found = _break(words) | _vendor(words) | _release(tags)
    return [Question(name, key, text) for key, text in found.items() if key not in answered]


def _break(words: str) -> dict[str, str]:
    for key, title in FAMOUS_BREAKS.items():
        if f" {key} " in words:
            return {key: f"it is named like {title}. Is it your own playing, or that record?"}
    return {}


def _vendor(words: str) -> dict[str, str]:
    for vendor in VENDORS:
        if _plain(vendor) in words or f" {vendor.lower().replace(' ', '')} " in words:
            return {
                vendor.lower(): f"it names {vendor}. Does the licence of those samples allow training on them?"
            }
    return {}


def _release(tags: dict[str, str]) -> dict[str, str]:
    """An album with a label or a number of the trade, or an ISRC, is a release; a session's name alone is none."""
    numbers = [key for key in _NUMBERS if tags.get(key)]
    if not (tags.get("isrc") or (tags.get("album") and (numbers or tags.get("copyright")))):
        return {}
    what = ", ".join(
        f"{key.replace('_', ' ')} {tags[key]}" for key in ("artist", "album", *numbers) if tags.get(key)
    )
    return {"release": f"its tags are those of a release ({what}). Who owns that recording?"}


def _plain(text: str) -> str:
    """Lower-case words without accents and apostrophes, one space around each."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", letters.replace("'", ""))
    return " " + " ".join(re.findall(r"[a-z]+|\d+", split.lower())) + " "
