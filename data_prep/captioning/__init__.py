"""From facts to words: captions, house vocabulary, tables, plug-ins."""
