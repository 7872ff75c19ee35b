// Package monitor tells how far everything is behind: each camera at each hop, each
// consumer group in each topic, and how long until retention removes what a group has not
// read. It reads the log alone, and asks no consumer, so it is right when consumers are dead.
//
// Seconds are seconds of footage, by the media time of the entries, unless a text says that
// they are an age. A number is that of the newest reading of the log
// (framelog_monitor_scrape_age_seconds ago), also while the brokers do not answer. A series
// that is not known is missing.
//
// The metrics (metrics.go has their HELP texts):
//
//	framelog_monitor_up                                    1: the brokers answered the newest reading. 0: they did not.
//	framelog_monitor_scrape_age_seconds                    Age of the newest complete reading of the log.
//	framelog_monitor_retention_seconds                     topics.retention of the monitor's configuration.
//	framelog_monitor_broker_up{broker}                     1: the broker (its node id) is in the cluster. 0: it holds replicas, and is not there.
//	framelog_monitor_partitions_without_leader{kind}       Partitions that cannot be read or written. kind: media, index, registry or events.
//
//	framelog_monitor_camera_state{camera,state}            1 for the state that the camera is in.
//	framelog_monitor_hop_behind_seconds{camera,hop}        How far a camera is behind at a hop.
//	framelog_monitor_gap_seconds_total{camera,rendition,reason}  Footage that gaps stand for, of entries that came since this process began.
//	framelog_monitor_dead_letters{camera,processor}        Dead letters that are in the log now.
//
//	framelog_monitor_group_lag_records{group,camera,rendition}      Records of the index that the group has not done.
//	framelog_monitor_group_lag_seconds{group,camera,rendition}      From the oldest fragment that is not done to the end of the newest.
//	framelog_monitor_retention_left_seconds{group,camera,rendition} Until retention removes the oldest fragment that the group has not done.
//
//	framelog_monitor_topic_bytes{camera,rendition}         Size on disk of one copy of the media topic.
//	framelog_monitor_topic_span_seconds{camera,rendition}  Footage from the oldest fragment that can be read to the newest.
//
// The labels:
//
//   - state is that of the camera's status (connecting, live, away, refused, unusable,
//     disabled, ended); "stale" if its owner has written none for 30 s; "unowned" if there is none.
//   - hop is "log": the age of the newest entry of the camera's own topic. It rises up to
//     the length of a fragment between two entries. A camera that is disabled or removed, and a
//     replay, have no such hop; one that was never recorded is as old as its record in the registry.
//     It is missing until the topic was read once, as while its leader is away.
//     Or hop is a rendition: how much footage of the camera it does not have yet, also if
//     its processor is dead. Dead letters and the results of a backfill or a redrive are no hops.
//     Or hop is "playlist": how much footage of the log the playlist does not show yet, of
//     the cameras that egress follows, under framelog up. In a cluster the rules for
//     Prometheus compute it (deploy/prometheus).
//   - rendition is "raw" for the camera's own topic.
//   - group is a consumer group that has committed offsets of index topics. Those of
//     processors are called framelog-process-<processor>, that of archivers framelog-archive.
//   - reason is that of the entries: budget, storage, crash, skipped, … (docs/operating.md).
//     Those that tell of a loss are there from the start, with 0. If a topic was there at the
//     start and could be read only later, the entries count whose timestamp is of the start or later.
package monitor
