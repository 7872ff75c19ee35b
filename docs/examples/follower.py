#!/usr/bin/python3
"""Copies a camera into its rendition `copy`, by section 6 of docs/wire-format.md.

    follower.py BROKERS TOPIC

TOPIC is cam.<camera>. The program goes on behind the newest entry of the rendition, and follows
the camera until it is ended. If another process begins to write the rendition, it ends.
"""
import argparse
import os
import socket
import time

import msgpack
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from reader import Expired, Log

PROCESSOR, ROLE = "copy", "alternative"
SETTINGS = "cleanup.policy max.message.bytes retention.ms retention.bytes segment.bytes segment.ms".split()
# Keys in the order in which Framelog writes them. Readers take any order.
CHUNK = "v e se ly q i l en st m d ca cc tr og s ln b".split()
ENTRY = "v k pv lf q se ly cf og st m d ds by e p o ol n lp lu en r ab ar w h fr fu pr at ro sc nt".split()
OF_SOURCE = "v k lf q se ly cf og st m d lp lu en r ab ar".split()  # a copy has the source's tracks and codecs


def partitions_of(consumer, topic):
    """Returns the partitions of a topic, which may be new. A consumer, unlike a producer, does not create it."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        if partitions:
            return partitions
        time.sleep(0.1)
    raise SystemExit(f"there is no topic {topic}")


def create(brokers, source, rendition):
    """Creates the two topics of the rendition, like those of its source."""
    admin = AdminClient({"bootstrap.servers": brokers})
    for suffix in ("", ".index"):
        partitions = partitions_of(source.index.consumer, source.topic + suffix)
        resource = ConfigResource("topic", source.topic + suffix)
        settings = {k: c.value for k, c in admin.describe_configs([resource])[resource].result().items() if k in SETTINGS}
        topic = NewTopic(rendition + suffix, len(partitions), len(partitions[0].replicas), config=settings)
        try:
            admin.create_topics([topic])[topic.topic].result()
        except KafkaException as e:
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def copy_of(e):
    """Returns the copy that an entry of the source names."""
    return {"e": e.get("e", 0), "o": e.get("o", 0), "n": e.get("n", 0)}


NO_COPY = copy_of({})


class Follower:
    """The writer of the rendition."""

    def __init__(self, brokers, source):
        self.source, self.out = Log(brokers, source), Log(brokers, source + ".copy")
        create(brokers, self.source, self.out.topic)
        self.camera = source.split("cam.")[-1]
        self.epoch = None  # offset of our newest `open`
        self.prev = None  # offset of our newest entry
        self.stamp = 0  # timestamp of our newest record
        self.offsets = []  # of records that Kafka has taken
        self.producer = Producer({
            "bootstrap.servers": brokers, "acks": "all", "enable.idempotence": True, "linger.ms": 0,
            "message.max.bytes": 9 << 20,  # a chunk has at most 8 MiB
        })
        self.next = self.out.index.span()[0]  # offset of the index to read next
        self.catch_up()

    def catch_up(self):
        """Reads the rendition's index up to its end. It ends the program if another writer has the rendition."""
        end = self.out.index.span()[1]
        for _ in self.out.entries(self.next, end):
            pass
        self.next, self.last, o = end, self.out.judge.last, self.out.judge.open
        if o and o.get("pr") != PROCESSOR:
            raise SystemExit(f"the processor {o.get('pr')} writes {self.out.topic}; give this one a rendition of its own")
        if self.epoch is not None and o["offset"] != self.epoch:
            raise SystemExit(f"fenced: {o.get('w')} writes {self.out.topic} now")

    def done(self, e):
        return self.last is not None and e["q"] <= self.last["q"]

    def hole(self, e):
        """Reports whether the seq before e has no entry."""
        return self.last is None or self.last["q"] + 1 < e["q"]

    def send(self, topic, partition, key, value, headers, stamp):
        def answered(err, m):
            if err:
                raise KafkaException(err)
            self.offsets.append(m.offset())
        self.stamp = max(self.stamp, stamp // 1000)  # milliseconds; it never goes back
        self.producer.produce(topic, value, key, partition=partition, headers=headers, timestamp=self.stamp, on_delivery=answered)

    def sent(self):
        """Waits until Kafka has taken all records. Returns their offsets."""
        self.producer.flush()
        offsets, self.offsets = self.offsets, []
        return offsets

    def append(self, e, stamp):
        """Appends an entry to the index, and returns its offset."""
        value = msgpack.packb({k: e[k] for k in ENTRY if e.get(k) or k in ("v", "pv")})
        key = self.camera if e["k"] == "open" else f"{self.camera}/{e['q']}"
        self.send(self.out.topic + ".index", 0, key, value, [("v", b"1"), ("kind", e["k"].encode())], stamp)
        return self.sent()[0]

    def open(self, e):
        """Fences all other writers. The work on the source's entry e begins."""
        while not self.done(e):
            o = {"v": 1, "k": "open", "pv": -1, "lf": e.get("lf"), "q": e["q"], "r": "start", "ro": ROLE, "pr": PROCESSOR,
                 "w": f"{socket.gethostname()}-{os.getpid()}", "h": socket.gethostname()}
            # Another writer may write on until our first `open`. So only the second one declares a hole.
            if self.epoch is not None:
                self.catch_up()
                o.update(r="hole", fr=e["q"])
            self.epoch = self.prev = self.append(o, e["st"])
            self.partitions = len(partitions_of(self.out.index.consumer, self.out.topic))
            self.catch_up()
            if not self.hole(e) or "fr" in o:
                return

    def commit(self, e, stamp):
        """Appends the entry of a seq, and makes sure that it counts."""
        e = {**e, "pv": self.prev}
        self.prev, before, self.last = self.append(e, stamp), self.prev, e
        if self.prev <= before:
            raise SystemExit(f"{self.out.topic}.index is shorter than it was; start again")
        if self.prev > before + 1:
            self.catch_up()  # is there an `open` between the two?

    def copy(self, e):
        """Writes a fragment or a gap of the source."""
        own = {**{k: v for k, v in e.items() if k in OF_SOURCE}, "e": self.epoch, "ro": ROLE}
        if copy_of(e) != NO_COPY:
            own["sc"] = copy_of(e)
        if e["k"] != "gap":
            try:
                own.update(self.copy_chunks(e))
            except Expired:
                own.update(k="gap", r="expired", og=False)
        self.sent()
        if own["k"] == "gap":  # it has the codecs and the configuration of the fragment before it
            last = self.last or {"ly": {}}
            codecs = {k: v for k, v in last["ly"].items() if k in ("v", "a", "d")}
            own.update(ly={**{k: e["ly"][k] for k in ("n", "td", "pt")}, **codecs}, cf=last.get("cf"))
        self.commit(own, e["st"])

    def copy_chunks(self, e):
        """Writes the chunks of a fragment. Returns the keys of their copy."""
        partition, size = e["q"] % self.partitions, 0
        for m, c in self.source.chunks(e):
            c["e"] = self.epoch
            if c["i"] == 0:
                stamp = c["ca"]
                c["ln"] = {"s": self.source.topic, "q": e["q"], "p": PROCESSOR, "v": "1"}
            size += len(c["b"])
            headers = [(k, str(self.epoch).encode() if k == "epoch" else v) for k, v in m.headers()]
            self.send(self.out.topic, partition, m.key(), msgpack.packb({k: c[k] for k in CHUNK if k in c}), headers, stamp)
        offsets = self.sent()
        return {"by": size, "p": partition, "o": offsets[0], "ol": offsets[-1], "n": len(offsets)}

    def run(self):
        for e in self.source.entries(self.source.index.span()[0]):
            if e["k"] == "hole":
                continue
            if self.last and not self.continues(e):
                raise SystemExit(f"{self.source.topic} is not what it was; delete the topics of {self.out.topic} and start again")
            if self.epoch is None or self.hole(e):
                self.open(e)
            if not self.done(e):
                self.copy(e)

    def continues(self, e):
        """Reports whether the newest entry was made of the source as it is now."""
        last = self.last
        return last.get("lf") == e.get("lf") and (last["q"] != e["q"] or last["k"] == "gap" or last["sc"] == copy_of(e))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("brokers")
    p.add_argument("topic")
    args = p.parse_args()
    Follower(args.brokers, args.topic).run()


if __name__ == "__main__":
    try:
        main()
    except (KafkaException, Expired) as e:
        raise SystemExit(f"follower: {e}")
    except KeyboardInterrupt:
        pass
