#!/bin/bash
# Apache Kafka, one node, in the place of Redpanda. /opt/kafka has its jars.
set -e
run() { exec java -Xms128m -Xmx640m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/*' "$@"; }
if [ ! -e /var/lib/redpanda/data/meta.properties ]; then
  (run kafka.tools.StorageTool format --config /etc/kafka.properties --cluster-id AAAAAAAAAAAAAAAAAAAAAA)
fi
run kafka.Kafka /etc/kafka.properties
