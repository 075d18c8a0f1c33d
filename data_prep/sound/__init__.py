"""Sound files of any format, read in bounded memory, and what they say of themselves."""
