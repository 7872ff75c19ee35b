"""Tells what it got in the mode encoded."""
import framelog


def handler(fragment):
    samples = [[s.track, s.dts, s.pts, s.duration, s.sync, s.data.decode()] for chunk in fragment for s in chunk.samples]
    fragment.event("told", data=samples)


framelog.run(handler)
