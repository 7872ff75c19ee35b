"""Does nothing with the pictures: what the protocol itself costs."""
import framelog


def nothing(fragment):
    for _ in fragment:
        pass


framelog.run(nothing)
