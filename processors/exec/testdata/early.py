"""Ends its loop early, keeps a fragment, and uses the module wrongly."""
import framelog

kept = []


def attempt(f):
    try:
        f()
    except framelog.Error as e:
        return str(e)
    return "no error"


def handler(fragment):
    said = []
    said.append(attempt(lambda: fragment.event("x", boxes=[(0, 0, 1, 1)])))
    said.append(attempt(lambda: fragment.event("")))
    for frame in fragment:
        said.append(attempt(lambda: frame.replace(frame.image)))
        said.append(attempt(lambda: fragment.event("x", start=frame.time.replace(tzinfo=None))))
        said.append(attempt(lambda: frame.boxes([(0, 0, 1, 1, "x" * (1 << 20))])))
        break
    said.append(attempt(lambda: kept[0].event("x")) if kept else "first")
    kept.append(fragment)
    fragment.event("told", data=said)


framelog.run(handler)
