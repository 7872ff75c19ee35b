"""An example for the profile exec: an event while the picture is bright. Put yours here."""
import framelog


def bright(fragment):
    for frame in fragment:  # frame.image is a numpy array
        if frame.image.mean() > 200:
            fragment.event("bright", start=frame.time)
            break


framelog.run(bright)
