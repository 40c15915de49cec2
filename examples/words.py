"""A small embedding without a model: which words a text has. The same text always becomes the same vector.

It finds texts that share words, which is enough to try things out and to test them; put your model in its place.
"""

import math
import re
import zlib

DIMENSION = 1024


def vector(text):
    """A vector of length 1: how often each word is in `text`, words being sorted into places by a checksum."""
    counts = [0.0] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        counts[zlib.crc32(word.encode()) % DIMENSION] += 1.0
    length = math.sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]


#: What the examples store: an id, a text, and what kind of note it is.
NOTES = [
    ("lentils", "Simmer the lentils with carrots and cumin for half an hour.", "kitchen"),
    ("bread", "Let the bread rise twice before it goes into the oven.", "kitchen"),
    ("chain", "Oil the bicycle chain after riding in the rain.", "garage"),
    ("tyres", "Pump the bicycle tyres before a long ride.", "garage"),
    ("train", "The night train to the coast leaves at nine.", "travel"),
]
