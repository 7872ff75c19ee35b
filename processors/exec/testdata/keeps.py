"""Keeps pictures in every way, and tells at the end what stands in them."""
import hashlib

import framelog


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def handler(fragment):
    frames, images, rows, then = [], [], [], []
    for i, frame in enumerate(fragment):
        then.append(digest(frame.image))
        if i % 4 == 0:
            frames.append((i, frame))
        elif i % 4 == 1:
            images.append((i, frame.image))
        elif i % 4 == 2:
            rows.append((i, frame.image[1:, ::2]))
            then[i] = digest(frame.image[1:, ::2])
    kept = [(i, digest(f.image)) for i, f in frames] + [(i, digest(x)) for i, x in images + rows]
    fragment.event("told", data=[i for i, d in kept if d != then[i]], value=len(kept))


framelog.run(handler)
