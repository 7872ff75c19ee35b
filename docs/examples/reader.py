#!/usr/bin/python3
"""Reads a camera from the log, by the rules of docs/wire-format.md.

    reader.py BROKERS TOPIC [--follow]

TOPIC is cam.<camera> or cam.<camera>.<rendition>. Each fragment, gap and hole is a line of
JSON. sha256 is over the samples of a fragment: of each one a line "track dts offset duration
sync size", then its bytes. With --follow the reader waits for new footage.

It needs Debian's packages python3-confluent-kafka and python3-msgpack.
"""
import argparse
import hashlib
import json
import time

import msgpack
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

VERSION = 1  # of the schema


class Expired(Exception):
    """Kafka has removed these records."""


def decode(value):
    """Returns the map of a record, or None if the record is none of this schema."""
    try:
        record = msgpack.unpackb(value, max_array_len=65536, max_map_len=65536)
    except (ValueError, TypeError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("v"), int) or record["v"] < 1:
        return None
    if record["v"] > VERSION:
        raise SystemExit(f"a record has schema version {record['v']}; upgrade this reader")
    return record


def is_entry(e):
    """Reports whether a writer may have written this entry."""
    if e is None or min(e.get(k, 0) for k in ("d", "by", "ab")) < 0 or len(e.get("nt", "").encode()) > 1024:
        return False
    if "ds" in e:
        if e.get("k") != "gap" or any(n < 1 or d < 0 for n, d in e["ds"]) or not 2 <= sum(n for n, _ in e["ds"]) <= 4096:
            return False
        return sum(n * d for n, d in e["ds"]) == e.get("d", 0)
    if e.get("k") in ("whole", "truncated"):
        return 0 <= e.get("o", 0) <= e.get("ol", 0) and 0 < e.get("n", 0) <= e.get("ol", 0) - e.get("o", 0) + 1
    return True


class Partition:
    """One partition of a topic."""

    def __init__(self, brokers, topic, number):
        self.topic, self.number, self.next = topic, number, None
        self.consumer = Consumer({
            "bootstrap.servers": brokers,
            "group.id": "unused",  # the client wants one; nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "error",  # else the client goes on elsewhere if a record has expired
            "queued.max.messages.kbytes": 16384,
            "fetch.wait.max.ms": 100,  # span waits as long, behind a request for records
        })

    def span(self):
        """Returns the offset of the oldest record, and that behind the newest one."""
        limit = time.monotonic() + 10
        while True:
            try:
                return self.consumer.get_watermark_offsets(TopicPartition(self.topic, self.number), timeout=10)
            except KafkaException:  # a new topic has no leader yet; a leader moves
                if time.monotonic() > limit:
                    raise
            time.sleep(0.1)

    def read(self, first, end=None):
        """Yields the records from offset first up to end, without an end for ever."""
        if self.next != first:
            self.consumer.assign([TopicPartition(self.topic, self.number, first)])
        self.next = first
        while end is None or self.next < end:
            m = self.consumer.poll(10)
            if m is None:
                if end is not None and self.span()[1] <= self.next:
                    raise Expired("the partition is shorter than it was")
            elif m.error():
                self.next = None
                if m.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    raise Expired(m.error().str())
                raise KafkaException(m.error())
            else:
                self.next = m.offset() + 1
                yield m


class Judge:
    """Says which entries count. It gets the records of an index in order, from the oldest on."""

    def __init__(self):
        self.start = None  # the first offset that it got
        self.open = None  # the newest `open`
        self.last = None  # the newest entry that counts
        self.froms = set()  # of each `open` behind it

    def feed(self, offset, e):
        """Returns the fragments for which a record stands: none if it does not count."""
        if self.start is None:
            self.start = offset
        if not is_entry(e):
            return []
        if e["k"] == "open":
            self.open = {**e, "offset": offset}
            self.froms.add(e.get("fr", 0))
            return []
        prev = e["pv"]
        if not 0 <= prev < offset or self.open and self.open["offset"] > prev or prev + 1 < self.start:
            return []  # void: an `open` stands between, or the entry before has expired
        if e["k"] not in ("whole", "truncated", "gap"):
            return []
        new = [x for x in expand(e) if self.last is None or x["q"] > self.last["q"]]
        if new:
            if self.last and new[0]["q"] != self.last["q"] + 1:
                hole = {"k": "hole", "q": self.last["q"] + 1, "to": new[0]["q"] - 1, "declared": new[0]["q"] in self.froms}
                new.insert(0, hole)
            self.last, self.froms = new[-1], set()
        return new


def expand(e):
    """Yields an entry, or the gaps of a run."""
    q, start, media = e["q"], e.get("st", 0), e.get("m", 0)
    at = 0
    for n, duration in e.get("ds", [(1, e.get("d", 0))]):
        for _ in range(n):
            one = {k: v for k, v in e.items() if k != "ds" and (at == 0 or k not in ("ab", "ar"))}
            yield {**one, "q": q, "st": start + at * 1000 // 90, "m": media + at, "d": duration}
            q, at = q + 1, at + duration


class Log:
    """A camera's or a rendition's two topics."""

    def __init__(self, brokers, topic):
        self.brokers, self.topic = brokers, topic
        self.index = Partition(brokers, topic + ".index", 0)
        self.media = {}
        self.judge = Judge()

    def partition(self, number):
        if number not in self.media:  # the topic may have grown
            self.media[number] = Partition(self.brokers, self.topic, number)
        return self.media[number]

    def entries(self, first, end=None):
        """Yields the entries that count, and holes, from an offset of the index on."""
        for m in self.index.read(first, end):
            yield from self.judge.feed(m.offset(), decode(m.value()))

    def expired(self, e):
        return e["k"] in ("whole", "truncated") and e.get("o", 0) < self.partition(e.get("p", 0)).span()[0]

    def chunks(self, e):
        """Yields the records of an entry's chunks, decoded too: of the copy that counts."""
        index, first, last = 0, e.get("o", 0), e.get("ol", 0)
        for m in self.partition(e.get("p", 0)).read(first, last + 1):
            c = decode(m.value())
            if c and (c.get("q"), c.get("e"), c.get("i")) == (e["q"], e.get("e", 0), index):
                index += 1
                yield m, c
        if index < e["n"]:
            raise Expired("the partition has other records at these offsets")


def samples(chunk):
    """Yields (track, dts, presentation offset, duration, sync, bytes) of each sample."""
    at = 0
    for run in chunk["s"]:
        dts, offsets, sync = run["d"], run.get("po"), run.get("k", [])
        for i, (duration, size) in enumerate(zip(run["du"], run["sz"])):
            offset = offsets[i] if offsets else 0
            yield run["t"], dts, offset, duration, run.get("ak", False) or i in sync, chunk["b"][at:at + size]
            dts, at = dts + duration, at + size


def line(log, e):
    """Returns what is printed for an entry or a hole."""
    if e["k"] == "hole":
        return {"kind": "hole", "from": e["q"], "to": e["to"], "declared": e["declared"]}
    out = {"seq": e["q"], "kind": e["k"], "session": e.get("se", 0), "start": e.get("st", 0) / 1e6, "seconds": e["d"] / 90000}
    for name, key, unit in [("reason", "r", None), ("absent_seconds", "ab", 90000), ("absent_reason", "ar", None)]:
        if key in e:
            out[name] = e[key] / unit if unit else e[key]
    if e["k"] == "gap":
        return out
    n, digest = 0, hashlib.sha256()
    try:
        for _, c in log.chunks(e):
            for *about, data in samples(c):
                n += 1
                digest.update((" ".join(str(int(v)) for v in [*about, len(data)]) + "\n").encode() + data)
    except Expired:
        return {**out, "kind": "expired"}
    return {**out, "samples": n, "sha256": digest.hexdigest()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("brokers")
    p.add_argument("topic")
    p.add_argument("--follow", action="store_true")
    args = p.parse_args()
    log = Log(args.brokers, args.topic)
    oldest, end = log.index.span()
    recorded = list(log.entries(oldest, end))
    # Each partition expires separately: what is older than an expired fragment counts as expired too.
    gone = max((i + 1 for i, e in enumerate(recorded) if log.expired(e)), default=0)
    for e in recorded[gone:]:
        print(json.dumps(line(log, e)), flush=True)
    if args.follow:
        for e in log.entries(end):
            print(json.dumps(line(log, e)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (KafkaException, Expired) as e:
        raise SystemExit(f"reader: {e}")
    except KeyboardInterrupt:
        pass
