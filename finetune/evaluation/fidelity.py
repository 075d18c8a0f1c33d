"""How true a copy of a sound is: sample by sample, and as an ear's bands see it."""

from __future__ import annotations

import librosa
import numpy as np

WINDOW = 2048
HOP = 512
BANDS = 128
FLOOR_DB = -70.0


def sdr_db(original: np.ndarray, copy: np.ndarray) -> float:
    """Waveform signal-to-distortion ratio: energy of the original over energy of the difference, in dB.

    Both (channels, samples). No gain or delay is forgiven: half the level is 6 dB, silence 0 dB, an exact copy ∞.
    """
    signal = float(np.square(original, dtype=np.float64).sum())
    error = float(np.square(np.asarray(original, np.float64) - copy).sum())
    if error == 0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-30) / error))


def log_mel(sound: np.ndarray, sample_rate: int, bands: int = BANDS, hop: int = HOP) -> np.ndarray:
    """(bands, frames) mel level in dB of a (channels, samples) sound, never below FLOOR_DB.

    0 dB is a full-scale sine in one band. The mean of the channels' power: nothing cancels between them.
    """
    spectra = librosa.stft(np.asarray(sound, np.float32), n_fft=WINDOW, hop_length=hop)
    power = (
        np.square(np.abs(spectra)).mean(axis=0) / (WINDOW / 4) ** 2
    )  # a Hann window sums to half its length
    mel = librosa.filters.mel(sr=sample_rate, n_fft=WINDOW, n_mels=bands, norm=None)
    return np.maximum(10 * np.log10(np.maximum(mel @ power, 1e-12)), FLOOR_DB)


def log_mel_error_db(original: np.ndarray, copy: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of the log-mel levels of two (channels, samples) sounds of one length, in dB."""
    return float(np.abs(log_mel(original, sample_rate) - log_mel(copy, sample_rate)).mean())
