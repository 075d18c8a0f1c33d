"""When things sound: onsets, tempo, beats, bars."""
