package dashboards

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

// All returns the dashboards by the names of their files.
func All() map[string]*dashboard.DashboardBuilder {
	return map[string]*dashboard.DashboardBuilder{
		"overview.json":   overview(),
		"camera.json":     camera(),
		"processors.json": processors(),
		"broker.json":     broker(),
		"egress.json":     egress(),
		"archive.json":    archive(),
	}
}

func overview() *dashboard.DashboardBuilder {
	return board("overview", "overview", "All cameras and hops, worst first.").
		WithPanel(number("Live", "none", "Cameras that are recorded.", plain(),
			query{`sum(max by (camera) (framelog_monitor_camera_state{state="live"})) or vector(0)`, ""})).
		WithPanel(number("Not live", "none", "Cameras that should be recorded and are not.", limits(1, 1),
			query{`sum(max by (camera, state) (framelog_monitor_camera_state{state!~"live|disabled|ended"})) or vector(0)`, ""})).
		WithPanel(number("Worst hop", "s", "The largest number of seconds that anything is behind.", limits(30, 75),
			query{`max(framelog:hop_behind_seconds)`, ""})).
		WithPanel(number("Alerts", "none", "", limits(1, 1),
			query{`count(ALERTS{alertname=~"Framelog.*", alertstate="firing"}) or vector(0)`, ""})).
		WithPanel(number("Lost in the last hour", "s", "Footage of all cameras that was received and could not be kept.", limits(1, 1),
			query{`sum(max by (camera, reason) (increase(framelog_monitor_gap_seconds_total{rendition="raw", reason!~"absent|handover|source"}[1h]))) or vector(0)`, ""})).
		WithPanel(number("Dead letters", "none", "Fragments in the log that processors have given up on.", limits(1, 10),
			query{`sum(framelog:dead_letters) or vector(0)`, ""})).
		WithPanel(rows("Cameras and hops, worst first", "s", "Seconds behind. log: age of the newest entry, which rises up to the length of a fragment. A rendition: footage that its processor has not made yet.",
			query{`sort_desc(framelog:hop_behind_seconds)`, ""}).Thresholds(limits(30, 75)).OverrideByName("camera", cameraLink())).
		WithPanel(rows("Alerts", "none", "docs/operating.md has a section for each.",
			query{`ALERTS{alertname=~"Framelog.*", alertstate="firing"}`, ""}).OverrideByName("camera", cameraLink())).
		WithPanel(lines("Age of the newest entry, the ten oldest", "s", "", query{`topk(10, framelog:hop_behind_seconds{hop="log"})`, "{{camera}}"})).
		WithPanel(lines("Renditions and playlists, the ten that are furthest behind", "s", "", query{`topk(10, framelog:hop_behind_seconds{hop!="log"})`, "{{camera}} {{hop}}"})).
		WithPanel(lines("Cameras by state", "none", "", query{`count by (state) (max by (camera, state) (framelog_monitor_camera_state))`, "{{state}}"})).
		WithPanel(lines("Recorded", "Bps", "Bytes a second that all cameras write.", query{`sum(framelog:written_bytes:rate5m)`, "all cameras"})).
		WithPanel(lines("Footage that is not archived yet, the ten with the most", "s", "A file has a minute, so some 60 s are usual.", query{`topk(10, max by (camera, rendition) (framelog_archive_unsafe_seconds))`, "{{camera}} {{rendition}}"})).
		WithPanel(lines("Archived", "Bps", "Bytes a second that the archivers write.", query{`sum(rate(framelog_archive_bytes_total[$__rate_interval]))`, "all cameras"})).
		WithPanel(lines("Footage that was lost, in five minutes", "s", "", query{`sum by (reason) (framelog:gap_seconds:increase5m)`, "{{reason}}"})).
		WithPanel(lines("Time in which nothing was recorded, in five minutes", "s", "It is counted when the camera is recorded again.", query{`sum by (reason) (increase(framelog_log_absent_seconds_total[5m]))`, "{{reason}}"}))
}

func camera() *dashboard.DashboardBuilder {
	return board("camera", "one camera", "").
		WithVariable(choice("camera", "framelog_monitor_camera_state").Label("Camera")).
		WithPanel(number("State", "none", "", plain(), query{`max by (state) (framelog_monitor_camera_state{camera="$camera"})`, "{{state}}"}).TextMode("name")).
		WithPanel(number("Newest entry", "s", "", limits(30, 75), query{`framelog:hop_behind_seconds{camera="$camera", hop="log"}`, ""})).
		WithPanel(number("Kept", "s", "Footage from the oldest fragment that can be read to the newest.", plain(), query{`max(framelog_monitor_topic_span_seconds{camera="$camera", rendition="raw"})`, ""})).
		WithPanel(number("On disk", "bytes", "One copy of all renditions.", plain(), query{`sum(max by (rendition) (framelog_monitor_topic_bytes{camera="$camera"}))`, ""})).
		WithPanel(number("Lost in the last hour", "s", "", limits(1, 1),
			query{`sum(max by (reason) (increase(framelog_monitor_gap_seconds_total{camera="$camera", rendition="raw", reason!~"absent|handover|source"}[1h]))) or vector(0)`, ""})).
		WithPanel(number("Reconnects in the last hour", "none", "", limits(3, 20), query{`sum(increase(framelog_ingest_reconnects_total{camera="$camera"}[1h])) or vector(0)`, ""})).
		WithPanel(lines("Behind, by hop", "s", "", query{`framelog:hop_behind_seconds{camera="$camera"}`, "{{hop}}"})).
		WithPanel(lines("Lag of consumer groups", "s", "Footage from the oldest fragment that a group has not done to the newest.", query{`framelog:group_lag_seconds{camera="$camera"}`, "{{group}} {{rendition}}"})).
		WithPanel(lines("Received and written", "Bps", "", query{`sum(rate(framelog_ingest_received_bytes_total{camera="$camera"}[$__rate_interval]))`, "received"},
			query{`sum(rate(framelog_log_written_bytes_total{camera="$camera"}[$__rate_interval]))`, "written"})).
		WithPanel(lines("Pictures and frames of sound a second", "none", "", query{`sum by (track) (rate(framelog_ingest_units_total{camera="$camera"}[$__rate_interval]))`, "{{track}}"})).
		WithPanel(lines("Packets lost on the way from the camera, a second", "none", "", query{`sum(rate(framelog_ingest_lost_packets_total{camera="$camera"}[$__rate_interval]))`, "lost"})).
		WithPanel(lines("Waiting for Kafka", "bytes", "At topics.budget fragments are refused.", query{`sum(framelog_log_buffered_bytes{camera="$camera"})`, "buffered"})).
		WithPanel(lines("Footage that was lost, in five minutes", "s", "", query{`sum by (rendition, reason) (framelog:gap_seconds:increase5m{camera="$camera"})`, "{{rendition}} {{reason}}"})).
		WithPanel(lines("From capture to playlist", "s", "The latest delay of a followed camera.", query{`max(framelog_egress_hls_delay_seconds{camera="$camera"})`, "delay"}))
}

func processors() *dashboard.DashboardBuilder {
	return board("processors", "processors", "Lag, throughput, retries, dead letters, time a fragment.").
		WithVariable(choice("processor", "framelog_processor_lag_seconds").Label("Processor").IncludeAll(true).AllValue(".+").Multi(true)).
		WithPanel(rows("Behind, worst first", "s", "Footage from the start of the oldest fragment that is not done to the end of the newest.",
			query{`sort_desc(max by (processor, camera) (framelog_processor_lag_seconds{processor=~"$processor"}))`, ""}).Thresholds(limits(10, 30)).OverrideByName("camera", cameraLink())).
		WithPanel(rows("Time until retention overtakes a group", "s", "Missing where a group has done all.",
			query{`sort(framelog:retention_left_seconds)`, ""}).OverrideByName("camera", cameraLink())).
		WithPanel(lines("Lag, the worst camera", "s", "", query{`max by (processor) (framelog_processor_lag_seconds{processor=~"$processor"})`, "{{processor}}"})).
		WithPanel(lines("Fragments a second", "none", "", query{`sum by (processor, result) (rate(framelog_processor_fragments_total{processor=~"$processor"}[$__rate_interval]))`, "{{processor}} {{result}}"})).
		WithPanel(lines("Time a fragment", "s", "One attempt, with the time in which it waited for the fragment's chunks.",
			query{quantile("0.5", `framelog_processor_work_seconds`, "processor"), "{{processor}} median"}, query{quantile("0.95", `framelog_processor_work_seconds`, "processor"), "{{processor}} 95 %"})).
		WithPanel(lines("Failed attempts a second", "none", "", query{`sum by (processor) (rate(framelog_processor_failed_attempts_total{processor=~"$processor"}[$__rate_interval]))`, "{{processor}}"})).
		WithPanel(lines("Dead letters in the log", "none", "", query{`sum by (processor) (framelog:dead_letters{processor=~"$processor"})`, "{{processor}}"})).
		WithPanel(lines("Events a second", "none", "", query{`sum by (processor) (rate(framelog_processor_events_total{processor=~"$processor"}[$__rate_interval]))`, "{{processor}}"})).
		WithPanel(lines("Fragments in work", "none", "", query{`sum by (processor) (framelog_processor_fragments_in_work{processor=~"$processor"})`, "{{processor}}"})).
		WithPanel(lines("Held in memory", "bytes", "", query{`sum by (processor) (framelog_processor_held_bytes{processor=~"$processor"})`, "{{processor}}"})).
		WithPanel(lines("Cameras of each process", "none", "Its group shares the cameras.", query{`count by (processor, instance, role) (framelog_processor_lag_seconds{processor=~"$processor"})`, "{{processor}} {{instance}} {{role}}"})).
		WithPanel(lines("Left out, in five minutes", "s", "Gaps skipped and expired of renditions.", query{`sum by (rendition, reason) (framelog:gap_seconds:increase5m{rendition!="raw"})`, "{{rendition}} {{reason}}"}))
}

func broker() *dashboard.DashboardBuilder {
	return board("broker", "broker and topics", "").
		WithPanel(number("Brokers answer", "none", "1: they do.", plain(), query{`max(framelog_monitor_up)`, ""})).
		WithPanel(number("Brokers", "none", "Brokers that are in the cluster.", plain(), query{`sum(max by (broker) (framelog_monitor_broker_up))`, ""})).
		WithPanel(number("Without leader", "none", "Partitions that can be neither read nor written.", limits(1, 1), query{`sum(max by (kind) (framelog_monitor_partitions_without_leader))`, ""})).
		WithPanel(number("Footage on disk", "bytes", "One copy of all media topics.", plain(), query{`sum(max by (camera, rendition) (framelog_monitor_topic_bytes))`, ""})).
		WithPanel(number("Free on the disk", "bytes", "Redpanda tells it, or the node exporter.", plain(), query{`framelog:log_disk_free_bytes`, ""})).
		WithPanel(number("Disk is full in", "s", "As of the last half hour; none: it does not fill.", plain(), query{`framelog:log_disk_full_in_seconds`, ""})).
		WithPanel(rows("Largest topics", "bytes", "One copy.", query{`topk(50, max by (camera, rendition) (framelog_monitor_topic_bytes))`, ""}).OverrideByName("camera", cameraLink())).
		WithPanel(rows("Footage that is kept, shortest first", "s", "", query{`bottomk(50, max by (camera, rendition) (framelog_monitor_topic_span_seconds))`, ""}).OverrideByName("camera", cameraLink())).
		WithPanel(lines("Brokers", "none", "", query{`max by (broker) (framelog_monitor_broker_up)`, "broker {{broker}}"})).
		WithPanel(lines("Partitions without leader", "none", "", query{`max by (kind) (framelog_monitor_partitions_without_leader)`, "{{kind}}"})).
		WithPanel(lines("Time to write a chunk", "s", "From handing it to the client to Kafka's acknowledgement.",
			query{quantile("0.5", "framelog_log_produce_seconds", ""), "median"}, query{quantile("0.99", "framelog_log_produce_seconds", ""), "99 %"})).
		WithPanel(lines("Time to write an entry of an index", "s", "", query{quantile("0.5", "framelog_log_commit_seconds", ""), "median"}, query{quantile("0.99", "framelog_log_commit_seconds", ""), "99 %"})).
		WithPanel(lines("Written", "Bps", "", query{`sum(framelog:written_bytes:rate5m)`, "raw, all cameras"})).
		WithPanel(lines("Waiting for Kafka", "bytes", "", query{`topk(10, sum by (camera) (framelog_log_buffered_bytes))`, "{{camera}}"})).
		WithPanel(lines("Embedded broker", "bytes", "", query{`sum(framelog_broker_log_bytes)`, "log"}, query{`sum(framelog_broker_log_limit_bytes)`, "limit"})).
		WithPanel(lines("Redpanda's disk", "bytes", "", query{`sum by (instance) (redpanda_storage_disk_free_bytes)`, "{{instance}} free"}, query{`sum by (instance) (redpanda_storage_disk_total_bytes)`, "{{instance}} all"}))
}

func egress() *dashboard.DashboardBuilder {
	return board("egress", "egress", "What viewers get.").
		WithPanel(lines("Requests a second", "none", "", query{`sum by (route, result) (rate(framelog_egress_http_requests_total[$__rate_interval]))`, "{{route}} {{result}}"})).
		WithPanel(lines("Requests in flight", "none", "Blocking requests of low-latency players wait.", query{`sum by (route) (framelog_egress_http_requests_in_flight)`, "{{route}}"})).
		WithPanel(lines("Time to answer, 95 %", "s", "With the waiting of blocking playlist requests.", query{quantile("0.95", "framelog_egress_http_request_duration_seconds", "route"), "{{route}}"})).
		WithPanel(lines("Sent", "Bps", "", query{`sum by (route) (rate(framelog_egress_http_response_bytes_total[$__rate_interval]))`, "{{route}}"})).
		WithPanel(lines("From capture to part", "s", "", query{quantile("0.5", "framelog_egress_hls_capture_to_part_seconds", ""), "median"}, query{quantile("0.95", "framelog_egress_hls_capture_to_part_seconds", ""), "95 %"})).
		WithPanel(lines("From capture to playlist, the ten slowest cameras", "s", "", query{`topk(10, max by (camera) (framelog_egress_hls_delay_seconds))`, "{{camera}}"})).
		WithPanel(lines("Cameras and renditions that are followed", "none", "", query{`sum by (instance) (framelog_egress_hls_tails)`, "{{instance}}"})).
		WithPanel(lines("Refused at a limit, a second", "none", "Raise the limit of egress, or run more of it.", query{`sum by (limit) (rate(framelog_egress_hls_refused_total[$__rate_interval]))`, "{{limit}}"})).
		WithPanel(lines("Segments a second that were made from the log", "none", "They were neither in memory nor a file.", query{`sum(rate(framelog_egress_hls_rebuilt_segments_total[$__rate_interval]))`, "all"},
			query{`sum(rate(framelog_egress_hls_live_misses_total[$__rate_interval]))`, "near the live edge"})).
		WithPanel(lines("Segments and playlists in memory", "bytes", "", query{`sum by (instance) (framelog_egress_hls_cache_bytes)`, "{{instance}}"}, query{`sum by (instance) (framelog_egress_hls_range_cache_bytes)`, "{{instance}} playlists of ranges"})).
		WithPanel(lines("Clients that were too slow, a second", "none", "", query{`sum(rate(framelog_egress_hls_slow_clients_total[$__rate_interval]))`, "HLS"},
			query{`sum(rate(framelog_egress_events_slow_subscribers_total[$__rate_interval]))`, "events"})).
		WithPanel(lines("Viewers over sockets", "none", "A page has one socket for all its cameras.", query{`sum(framelog_egress_live_connections)`, "sockets"}, query{`sum(framelog_egress_live_subscriptions)`, "cameras and renditions"})).
		WithPanel(lines("Sockets that egress ended, a second", "none", "ping and write_timeout: the client took nothing any more, or did not answer.", query{`sum by (reason) (rate(framelog_egress_live_ended_total[$__rate_interval]))`, "{{reason}}"})).
		WithPanel(lines("Footage left out of sockets, times a second", "none", "behind: the viewer or the network is too slow.", query{`sum by (reason) (rate(framelog_egress_live_left_out_total[$__rate_interval]))`, "{{reason}}"})).
		WithPanel(lines("Clips and snapshots, a second", "none", "busy: raise egress.max_clips or egress.max_snapshots.", query{`sum by (result) (rate(framelog_egress_clips_total[$__rate_interval]))`, "clips, {{result}}"},
			query{`sum by (result) (rate(framelog_egress_snapshots_total[$__rate_interval]))`, "snapshots, {{result}}"})).
		WithPanel(lines("Hours read for timelines, a second", "none", "Memory did not have them: raise egress.timeline_hours if this stays high.", query{`sum(rate(framelog_egress_timeline_misses_total[$__rate_interval]))`, "hours"})).
		WithPanel(lines("Memory", "bytes", "", query{`sum by (instance, role) (process_resident_memory_bytes and on (job, instance, role) framelog_egress_hls_tails)`, "{{instance}} {{role}}"}))
}

func archive() *dashboard.DashboardBuilder {
	return board("archive", "archive", "What is archived, what is not yet, and the S3 store if the archive is in one.").
		WithPanel(number("Store", "none", "1: the newest write has worked.", plain(), query{`min(framelog_archive_store_up)`, ""})).
		WithPanel(number("Not archived yet", "s", "The camera with the most. A file has a minute, so some 60 s are usual.", limits(300, 3600), query{`max(framelog_archive_unsafe_seconds)`, ""})).
		WithPanel(number("Expired in the last hour", "s", "Footage that Kafka has deleted before it was archived.", limits(1, 1), query{`sum(increase(framelog_archive_expired_seconds_total[1h]))`, ""})).
		WithPanel(number("Stored", "bytes", "", plain(), query{`max(framelog_archive_stored_bytes)`, ""})).
		WithPanel(number("Held", "bytes", "What holds keep.", plain(), query{`max(framelog_archive_held_bytes)`, ""})).
		WithPanel(number("Over the limits", "bytes", "Because of holds.", limits(1, 1), query{`max(framelog_archive_over_limit_bytes)`, ""})).
		WithPanel(lines("Footage that is not archived yet, the ten with the most", "s", "", query{`topk(10, max by (camera, rendition) (framelog_archive_unsafe_seconds))`, "{{camera}} {{rendition}}"})).
		WithPanel(lines("Age of the oldest footage", "s", "As of the newest look of retention.", query{`time() - min by (camera) (framelog_archive_oldest_timestamp_seconds)`, "{{camera}}"})).
		WithPanel(lines("Written and deleted", "Bps", "", query{`sum(rate(framelog_archive_bytes_total[$__rate_interval]))`, "written"},
			query{`sum by (reason) (rate(framelog_archive_deleted_bytes_total[$__rate_interval]))`, "deleted, {{reason}}"})).
		WithPanel(lines("Failures, in five minutes", "none", "", query{`sum by (reason) (increase(framelog_archive_errors_total[5m]))`, "{{reason}}"},
			query{`sum(increase(framelog_archive_read_errors_total[5m]))`, "read"})).
		WithPanel(lines("S3: requests a second", "none", "Several attempts count once.", query{`sum by (kind, result) (rate(framelog_archive_s3_requests_total[$__rate_interval]))`, "{{kind}} {{result}}"})).
		WithPanel(lines("S3: read and written", "Bps", "", query{`sum(rate(framelog_archive_s3_read_bytes_total[$__rate_interval]))`, "read"},
			query{`sum(rate(framelog_archive_s3_written_bytes_total[$__rate_interval]))`, "written"})).
		WithPanel(lines("S3: blocks a second that were in memory, and that were not", "none", "If most were not, archive.s3.cache may be too small.",
			query{`sum(rate(framelog_archive_s3_cache_hits_total[$__rate_interval]))`, "in memory"}, query{`sum(rate(framelog_archive_s3_cache_misses_total[$__rate_interval]))`, "read"})).
		WithPanel(lines("S3: files in memory", "bytes", "", query{`sum by (instance, role) (framelog_archive_s3_cache_bytes)`, "{{instance}} {{role}}"}))
}
