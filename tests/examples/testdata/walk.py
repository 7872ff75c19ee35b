"""Writes raw BGR pictures, 640x360, 10 a second, 20 s: in each second of an even number a person
stands somewhere, in the others nobody. OpenCV's detector of people finds such a drawing."""
import sys

import cv2
import numpy as np

noise = np.random.default_rng(1)


def person(picture, x, y):
    def at(dx, dy):
        return x + dx, y + dy

    def shape(points, shade):
        cv2.fillPoly(picture, [np.array([at(*p) for p in points])], (shade,) * 3, cv2.LINE_AA)

    cv2.circle(picture, at(0, 14), 13, (100,) * 3, -1, cv2.LINE_AA)
    shape([(-24, 32), (24, 32), (20, 95), (-20, 95)], 40)
    shape([(-20, 93), (-1, 93), (-4, 178), (-18, 178)], 50)
    for side in (-1, 1):
        shape([(24 * side, 34), (33 * side, 38), (36 * side, 90), (28 * side, 92)], 40)
        shape([(20 * side, 93), (1 * side, 93), (4 * side, 178), (18 * side, 178)], 50)


for second in range(20):
    for _ in range(10):
        picture = np.full((360, 640, 3), 170, np.uint8)
        if second % 2 == 0:
            person(picture, 120 + 40 * (second % 11), 90)
        picture = (picture + noise.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
        sys.stdout.buffer.write(cv2.GaussianBlur(picture, (3, 3), 0))
