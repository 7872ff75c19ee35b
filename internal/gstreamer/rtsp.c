//go:build cgo

#include "rtsp.h"

#include <gst/app/gstappsink.h>
#include <gst/rtp/gstrtcpbuffer.h>
#include <gst/rtp/gstrtpbuffer.h>
#include <string.h>

// In rtsp_export.go.
extern void framelogRTSPFull(uintptr_t);
extern void framelogRTSPArrival(uintptr_t, guint);
extern void framelogRTSPStart(uintptr_t, guint8, FlStart *);
extern void framelogRTSPReport(uintptr_t, guint32, guint64, guint32);
extern void framelogRTSPMessage(uintptr_t, int, char *, int, int);

#define DAMAGED 8

// The pads of rtpbin that take RTP; behind it stands rtspsrc's number of the stream.
#define RECV_RTP "recv_rtp_sink_"

// Track belongs to one streaming thread, that of its jitterbuffer, or of video over TCP
// that of the connection: the probe and the appsink both run there, so it needs no lock.
typedef struct {
  FlQueue *queue;
  guint8 id;
  guint32 clock_rate;
  int payload;
  gboolean started;
  gint64 ext;     // biased extended RTP time of the last packet
  guint16 seq;    // of the last packet
  gboolean marker; // of the last packet
  guint32 packets, lost; // since the last unit
  gint64 damaged[DAMAGED]; // extended RTP times of units with holes, a ring
  guint next_damaged;
  gboolean has_clock_base;
  guint32 clock_base;
  GstCaps *caps; // last told
} Track;

static void track_clear(gpointer p) {
  gst_clear_caps(&((Track *)p)->caps);
}

static void track_unref(gpointer p) {
  g_atomic_rc_box_release_full(p, track_clear);
}

static void damaged(Track *t, gint64 ext) {
  t->damaged[t->next_damaged++ % DAMAGED] = ext;
}

// begins_unit reports whether a video payload begins an access unit, as far as its
// first bytes show it. Sound is not split over packets.
static gboolean begins_unit(int payload, const guint8 *p, guint size) {
  switch (payload) {
  case FL_RTSP_H264: // RFC 6184, 5.2; the first slice has first_mb_in_slice 0, one bit that is set
    if (size < 3)
      return FALSE;
    if ((p[0] & 0x1f) == 28) // FU-A
      return (p[1] & 0x80) != 0 && ((p[1] & 0x1f) > 5 || (p[2] & 0x80) != 0);
    return (p[0] & 0x1f) > 5 || (p[1] & 0x80) != 0;
  case FL_RTSP_H265: // RFC 7798, 4.4; first_slice_segment_in_pic_flag
    if (size < 4)
      return FALSE;
    if ((p[0] >> 1 & 0x3f) == 49) // FU
      return (p[2] & 0x80) != 0 && ((p[2] & 0x3f) > 31 || (p[3] & 0x80) != 0);
    return (p[0] >> 1 & 0x3f) > 31 || (p[2] & 0x80) != 0;
  case FL_RTSP_JPEG: // RFC 2435, 3.1; fragment offset
    return size >= 4 && p[1] == 0 && p[2] == 0 && p[3] == 0;
  }
  return TRUE;
}

static GstBuffer *on_packet(Track *t, GstBuffer *b) {
  if (t->payload > FL_RTSP_G726) {
    GstRTPBuffer w = GST_RTP_BUFFER_INIT;
    b = gst_buffer_make_writable(b);
    if (gst_rtp_buffer_map(b, GST_MAP_READWRITE, &w)) {
      fl_rtsp_repack_g726(gst_rtp_buffer_get_payload(&w), gst_rtp_buffer_get_payload_len(&w), t->payload - FL_RTSP_G726);
      gst_rtp_buffer_unmap(&w);
    }
  }
  GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;
  if (!gst_rtp_buffer_map(b, GST_MAP_READ, &rtp))
    return b;
  guint32 time = gst_rtp_buffer_get_timestamp(&rtp);
  guint16 seq = gst_rtp_buffer_get_seq(&rtp);
  guint32 ssrc = gst_rtp_buffer_get_ssrc(&rtp);
  gboolean marker = gst_rtp_buffer_get_marker(&rtp);
  gboolean begins = begins_unit(t->payload, gst_rtp_buffer_get_payload(&rtp), gst_rtp_buffer_get_payload_len(&rtp));
  gst_rtp_buffer_unmap(&rtp);

  if (!t->started) {
    t->started = TRUE;
    t->ext = FL_RTSP_BIAS + time;
    FlStart s = {ssrc, time, t->clock_rate, t->has_clock_base, t->clock_base};
    framelogRTSPStart(t->queue->conn, t->id, &s);
  } else {
    gint64 before = t->ext;
    t->ext += (gint32)(time - (guint32)before);
    guint16 missing = seq - t->seq - 1;
    // The jitterbuffer gives packets in order. If the number goes back, the sender
    // began again, and it is not known what is missing.
    if (missing != 0 && missing < 0x8000) {
      t->lost += missing;
      if (t->payload != FL_RTSP_SOUND && t->payload < FL_RTSP_G726) {
        if (!t->marker)
          damaged(t, before);
        if (!begins)
          damaged(t, t->ext);
      }
    }
  }
  t->seq = seq;
  t->marker = marker;
  t->packets++;

  b = gst_buffer_make_writable(b);
  GST_BUFFER_PTS(b) = gst_util_uint64_scale(t->ext < 0 ? 0 : (guint64)t->ext, GST_SECOND, t->clock_rate);
  GST_BUFFER_DTS(b) = GST_CLOCK_TIME_NONE;
  return b;
}

static gboolean on_list_item(GstBuffer **b, guint i, gpointer p) {
  *b = on_packet(p, *b);
  return TRUE;
}

// before_depay gives each packet its exact time, and counts.
static GstPadProbeReturn before_depay(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  Track *t = p;
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    info->data = on_packet(t, info->data);
  } else if (info->type & GST_PAD_PROBE_TYPE_BUFFER_LIST) {
    info->data = gst_buffer_list_make_writable(info->data);
    gst_buffer_list_foreach(info->data, on_list_item, t);
  } else if (GST_EVENT_TYPE(info->data) == GST_EVENT_CAPS) {
    GstCaps *caps;
    gst_event_parse_caps(info->data, &caps);
    guint base;
    if (gst_structure_get_uint(gst_caps_get_structure(caps, 0), "clock-base", &base)) {
      t->has_clock_base = TRUE;
      t->clock_base = base;
    }
  }
  return GST_PAD_PROBE_OK;
}

// after_depay replaces the segment by one without bounds: our times are RTP times,
// and the range that a server announces must not remove anything.
static GstPadProbeReturn after_depay(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  GstEvent *e = info->data;
  if (GST_EVENT_TYPE(e) == GST_EVENT_SEGMENT) {
    GstSegment s;
    gst_segment_init(&s, GST_FORMAT_TIME);
    GstEvent *n = gst_event_new_segment(&s);
    gst_event_set_seqnum(n, gst_event_get_seqnum(e));
    gst_event_unref(e);
    info->data = n;
  }
  return GST_PAD_PROBE_OK;
}

FlQueue *fl_rtsp_queue_new(uintptr_t conn) {
  FlQueue *q = g_new0(FlQueue, 1);
  q->conn = conn;
  g_mutex_init(&q->lock);
  g_rec_mutex_init(&q->passing);
  return q;
}

void fl_rtsp_queue_free(FlQueue *q) {
  fl_rtsp_free(q->first);
  g_mutex_clear(&q->lock);
  g_rec_mutex_clear(&q->passing);
  g_free(q);
}

FlItem *fl_rtsp_steal(FlQueue *q) {
  g_mutex_lock(&q->lock);
  FlItem *items = q->first;
  q->first = q->last = NULL;
  g_atomic_int_set(&q->count, 0);
  q->bytes = 0;
  g_mutex_unlock(&q->lock);
  return items;
}

void fl_rtsp_free(FlItem *it) {
  while (it != NULL) {
    FlItem *next = it->next;
    if (it->data != NULL)
      gst_buffer_unmap(gst_sample_get_buffer(it->sample), &it->map);
    if (it->config != NULL)
      gst_buffer_unmap(it->config, &it->config_map);
    gst_sample_unref(it->sample);
    g_free(it);
    it = next;
  }
}

static void set_format(FlItem *it, GstCaps *caps) {
  GstStructure *s = gst_caps_get_structure(caps, 0);
  FlFormat *f = &it->format;
  f->media = gst_structure_get_name(s);
  gst_structure_get_int(s, "width", &f->width);
  gst_structure_get_int(s, "height", &f->height);
  gst_structure_get_int(s, "rate", &f->rate);
  gst_structure_get_int(s, "channels", &f->channels);
  const GValue *v = gst_structure_get_value(s, "codec_data");
  GstBuffer *config = v != NULL && GST_VALUE_HOLDS_BUFFER(v) ? gst_value_get_buffer(v) : NULL;
  if (config != NULL && gst_buffer_map(config, &it->config_map, GST_MAP_READ)) {
    it->config = config;
    f->config = it->config_map.data;
    f->config_size = it->config_map.size;
  }
}

static void set_unit(Track *t, FlItem *it) {
  GstBuffer *b = gst_sample_get_buffer(it->sample);
  if (b == NULL || !gst_buffer_map(b, &it->map, GST_MAP_READ))
    return;
  it->data = it->map.data;
  it->size = it->map.size;
  FlUnit *u = &it->unit;
  u->pts = GST_BUFFER_PTS(b);
  u->packets = t->packets;
  u->lost = t->lost;
  u->arrived = g_get_real_time();
  t->packets = t->lost = 0;
  if (t->next_damaged > 0 && GST_CLOCK_TIME_IS_VALID(u->pts)) {
    // The time of a buffer was made from ticks rounded down.
    gint64 ext = gst_util_uint64_scale_ceil(u->pts, t->clock_rate, GST_SECOND);
    for (guint i = 0; i < DAMAGED && i < t->next_damaged; i++)
      u->damaged |= t->damaged[i] == ext;
  }
}

static GstFlowReturn on_sample(GstAppSink *sink, gpointer p) {
  Track *t = p;
  GstSample *s = gst_app_sink_pull_sample(sink);
  if (s == NULL)
    return GST_FLOW_OK;
  FlItem *it = g_new0(FlItem, 1);
  it->sample = s;
  it->track = t->id;
  GstCaps *caps = gst_sample_get_caps(s);
  if (caps != NULL && caps != t->caps) {
    if (t->caps == NULL || !gst_caps_is_equal(caps, t->caps))
      set_format(it, caps);
    gst_caps_replace(&t->caps, caps);
  }
  set_unit(t, it);

  FlQueue *q = t->queue;
  g_mutex_lock(&q->lock);
  if (q->last != NULL)
    q->last->next = it;
  else
    q->first = it;
  q->last = it;
  q->bytes += it->size;
  gboolean full = g_atomic_int_add(&q->count, 1) + 1 >= FL_RTSP_QUEUE_COUNT || q->bytes >= FL_RTSP_QUEUE_BYTES;
  g_mutex_unlock(&q->lock);
  if (full)
    framelogRTSPFull(q->conn);
  return GST_FLOW_OK;
}

// on_video_eos reports the end of the video. The pipeline's own end comes only when all
// sinks have got the end, and a sink of sound that is not decoded never gets it.
static void on_video_eos(GstAppSink *sink, gpointer p) {
  framelogRTSPMessage(((Track *)p)->queue->conn, FL_RTSP_VIDEO_EOS, NULL, 0, 0);
}

void fl_rtsp_attach(GstElement *depay, GstElement *sink, FlQueue *queue, guint8 track, guint32 clock_rate, int payload) {
  Track *t = g_atomic_rc_box_new0(Track);
  t->queue = queue;
  t->id = track;
  t->clock_rate = clock_rate;
  t->payload = payload;

  GstPad *pad = gst_element_get_static_pad(depay, "sink");
  gst_pad_add_probe(pad,
                    GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
                    before_depay, g_atomic_rc_box_acquire(t), track_unref);
  gst_object_unref(pad);
  pad = gst_element_get_static_pad(depay, "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, after_depay, NULL, NULL);
  gst_object_unref(pad);

  GstAppSinkCallbacks cb = {.new_sample = on_sample};
  if (payload == FL_RTSP_H264 || payload == FL_RTSP_H265 || payload == FL_RTSP_JPEG)
    cb.eos = on_video_eos;
  gst_app_sink_set_callbacks(GST_APP_SINK(sink), &cb, t, track_unref);
}

static GstPadProbeReturn on_rtcp(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  GstRTCPBuffer rtcp = GST_RTCP_BUFFER_INIT;
  GstBuffer *b = info->data;
  if (!gst_rtcp_buffer_validate_reduced(b) || !gst_rtcp_buffer_map(b, GST_MAP_READ, &rtcp))
    return GST_PAD_PROBE_OK;
  GstRTCPPacket packet;
  gboolean more = gst_rtcp_buffer_get_first_packet(&rtcp, &packet);
  for (; more; more = gst_rtcp_packet_move_to_next(&packet)) {
    if (gst_rtcp_packet_get_type(&packet) != GST_RTCP_TYPE_SR)
      continue;
    guint32 ssrc, time;
    guint64 ntp;
    gst_rtcp_packet_sr_get_sender_info(&packet, &ssrc, &ntp, &time, NULL, NULL);
    framelogRTSPReport((uintptr_t)p, ssrc, ntp, time);
  }
  gst_rtcp_buffer_unmap(&rtcp);
  return GST_PAD_PROBE_OK;
}

// before_jitterbuffer removes the range of the answer to PLAY. A jitterbuffer that
// knows the end ends the stream at that time by the clock, and drops what comes
// later: the last pictures if they are a little late, and all later pictures if a
// camera names a range and goes on.
static GstPadProbeReturn before_jitterbuffer(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  GstEvent *e = info->data;
  if (GST_EVENT_TYPE(e) == GST_EVENT_CAPS) {
    GstCaps *caps;
    gst_event_parse_caps(e, &caps);
    caps = gst_caps_copy(caps);
    for (guint i = 0; i < gst_caps_get_size(caps); i++)
      gst_structure_remove_fields(gst_caps_get_structure(caps, i), "npt-start", "npt-stop", NULL);
    GstEvent *n = gst_event_new_caps(caps);
    gst_caps_unref(caps);
    gst_event_set_seqnum(n, gst_event_get_seqnum(e));
    gst_event_unref(e);
    info->data = n;
  }
  return GST_PAD_PROBE_OK;
}

// on_arrival reports the first packet of a stream, of any payload type except
// comfort noise (RFC 3551, 6: type 13).
static GstPadProbeReturn on_arrival(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  GstBuffer *b = info->type & GST_PAD_PROBE_TYPE_BUFFER ? info->data : gst_buffer_list_get(info->data, 0);
  guint8 type;
  if (gst_buffer_extract(b, 1, &type, 1) != 1 || (type & 0x7f) == 13)
    return GST_PAD_PROBE_OK;
  framelogRTSPArrival((uintptr_t)p, g_ascii_strtoull(GST_PAD_NAME(pad) + strlen(RECV_RTP), NULL, 10));
  return GST_PAD_PROBE_REMOVE;
}

static void on_manager_pad(GstElement *rtpbin, GstPad *pad, gpointer p) {
  if (g_str_has_prefix(GST_PAD_NAME(pad), "recv_rtcp_sink"))
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_rtcp, p, NULL);
  else if (g_str_has_prefix(GST_PAD_NAME(pad), RECV_RTP)) {
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, before_jitterbuffer, NULL, NULL);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, on_arrival, p, NULL);
  }
}

static void on_jitterbuffer(GstElement *rtpbin, GstElement *jb, guint session, guint ssrc, gpointer p) {
  // Without it the first packets wait for the whole latency.
  if (g_object_class_find_property(G_OBJECT_GET_CLASS(jb), "faststart-min-packets") != NULL)
    g_object_set(jb, "faststart-min-packets", 1, NULL);
}

void fl_rtsp_watch_manager(GstElement *rtpbin, uintptr_t conn, gboolean ordered) {
  if (ordered)
    g_signal_connect(rtpbin, "request-jitterbuffer", G_CALLBACK(fl_rtsp_ordered), (gpointer)conn);
  g_signal_connect(rtpbin, "new-jitterbuffer", G_CALLBACK(on_jitterbuffer), NULL);
  g_signal_connect(rtpbin, "pad-added", G_CALLBACK(on_manager_pad), (gpointer)conn);
}

static GstBusSyncReply on_message(GstBus *bus, GstMessage *m, gpointer p) {
  uintptr_t conn = (uintptr_t)p;
  if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_ERROR) {
    GError *e = NULL;
    const GstStructure *details = NULL;
    guint status = 0;
    gst_message_parse_error(m, &e, NULL);
    gst_message_parse_error_details(m, &details);
    if (details != NULL)
      gst_structure_get_uint(details, "rtsp-status-code", &status);
    // A depayloader posts an error for an invalid packet, and goes on.
    if (e->domain != GST_STREAM_ERROR || g_strcmp0(GST_OBJECT_NAME(GST_MESSAGE_SRC(m)), "depay") != 0)
      framelogRTSPMessage(conn, fl_rtsp_of_sound(GST_MESSAGE_SRC(m)) ? FL_RTSP_SOUND_ERROR : FL_RTSP_ERROR,
                          (char *)g_quark_to_string(e->domain), e->code, status);
    g_error_free(e);
  } else if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_EOS) {
    framelogRTSPMessage(conn, FL_RTSP_EOS, NULL, 0, 0);
  } else if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_PROGRESS) {
    GstProgressType type;
    char *code = NULL;
    gst_message_parse_progress(m, &type, &code, NULL);
    // "open" is rtspsrc's word for OPTIONS to SETUP, "request" that for PLAY.
    if (type == GST_PROGRESS_TYPE_COMPLETE && g_strcmp0(code, "request") == 0)
      framelogRTSPMessage(conn, FL_RTSP_PLAYING, NULL, 0, 0);
    g_free(code);
  }
  // The reply means that the bus does not keep the message; then it is ours.
  gst_message_unref(m);
  return GST_BUS_DROP;
}

void fl_rtsp_watch_bus(GstElement *pipeline, uintptr_t conn) {
  GstBus *bus = gst_element_get_bus(pipeline);
  gst_bus_set_sync_handler(bus, NULL, NULL, NULL);
  if (conn != 0)
    gst_bus_set_sync_handler(bus, on_message, (gpointer)conn, NULL);
  gst_object_unref(bus);
}
