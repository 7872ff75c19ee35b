"""What the tests in python_test.go expect a program to do with the module framelog."""
import hashlib
import os
import sys

import numpy as np

import framelog


def handler(fragment):
    seen = []
    for frame in fragment:
        shape, pixels = list(frame.image.shape), hashlib.sha256(frame.image.tobytes()).hexdigest()
        seen.append([shape, pixels, frame.pts, frame.time.isoformat(), frame.camera, frame.seq])
        frame.boxes([framelog.Box(2, 1, 4, 2, "x", 0.5), np.array([-1, -1, 100, 100])] if len(seen) == 1 else [], score=np.float32(2))
        if fragment.attempt == 1:
            print("gives up", file=sys.stderr)
            raise ValueError("no such class")
        if fragment.output:
            frame.image ^= 0xFF  # the first picture goes out like this
            if len(seen) == 2:
                frame.drop()
            elif len(seen) == 3:
                frame.replace(255 - frame.image)
    fragment.event("told", value=len(seen), start=fragment.start, boxes=[(0, 0, 4, 4)], data={
        "seen": seen, "pid": os.getpid(), "complete": fragment.complete, "truncated": fragment.truncated, "lost": fragment.lost,
        "duration": fragment.duration, "track": [fragment.tracks[0].codec, fragment.tracks[0].config.hex()],
        "life": fragment.life, "session": fragment.session, "media": fragment.media,
    })
    fragment.note({"n": np.int64(len(seen))})


framelog.run(handler)
