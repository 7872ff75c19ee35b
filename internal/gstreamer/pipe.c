//go:build cgo

#include "pipe.h"

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>
#include <string.h>

#include "_cgo_export.h"

struct FlPipe {
  GstElement *pipeline;
  GstAppSrc *src;
  GstAppSink *sink;
  uintptr_t handle;
  GstBuffer *last; // what was pushed last

  GMutex lock;
  char *error, *warning;
};

static void on_need_data(GstAppSrc *src, guint length, gpointer p) { framelogPipeWake(((FlPipe *)p)->handle, FL_PIPE_ROOM); }

static void on_eos(GstAppSink *sink, gpointer p) { framelogPipeWake(((FlPipe *)p)->handle, FL_PIPE_READY); }

static GstFlowReturn on_sample(GstAppSink *sink, gpointer p) {
  framelogPipeWake(((FlPipe *)p)->handle, FL_PIPE_READY);
  return GST_FLOW_OK;
}

// note keeps the first error and the last warning.
static void note(FlPipe *p, GstMessage *m, gboolean failed) {
  GError *e = NULL;
  if (failed)
    gst_message_parse_error(m, &e, NULL);
  else
    gst_message_parse_warning(m, &e, NULL);
  GstElementFactory *f = GST_IS_ELEMENT(GST_MESSAGE_SRC(m)) ? gst_element_get_factory(GST_ELEMENT(GST_MESSAGE_SRC(m))) : NULL;
  char *text = g_strdup_printf("%s: %s", f != NULL ? GST_OBJECT_NAME(f) : GST_MESSAGE_SRC_NAME(m), e->message);
  g_error_free(e);
  g_mutex_lock(&p->lock);
  char **to = failed ? &p->error : &p->warning;
  if (*to == NULL || !failed) {
    g_free(*to);
    *to = text;
    text = NULL;
  }
  g_mutex_unlock(&p->lock);
  g_free(text);
}

static GstBusSyncReply on_message(GstBus *bus, GstMessage *m, gpointer data) {
  FlPipe *p = data;
  if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_ERROR) {
    note(p, m, TRUE);
    framelogPipeWake(p->handle, FL_PIPE_ROOM);
    framelogPipeWake(p->handle, FL_PIPE_READY);
  } else if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_WARNING) {
    note(p, m, FALSE);
  }
  // The reply means that the bus does not keep the message; then it is ours.
  gst_message_unref(m);
  return GST_BUS_DROP;
}

// on_query tells the element before the sink that pictures with padding are welcome:
// fl_sample_copy removes it. Without this a decoder copies each picture once more.
static GstPadProbeReturn on_query(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  GstQuery *q = GST_PAD_PROBE_INFO_QUERY(info);
  if (GST_QUERY_TYPE(q) == GST_QUERY_ALLOCATION && !gst_query_find_allocation_meta(q, GST_VIDEO_META_API_TYPE, NULL))
    gst_query_add_allocation_meta(q, GST_VIDEO_META_API_TYPE, NULL);
  return GST_PAD_PROBE_OK;
}

// on_caps gives the pictures behind the converter the colorimetry of those before it. Without
// this GStreamer chooses one by the size of the pictures, and converts each pixel if it is
// another one.
static GstPadProbeReturn on_caps(GstPad *pad, GstPadProbeInfo *probe, gpointer filter) {
  GstEvent *e = GST_PAD_PROBE_INFO_EVENT(probe);
  if (GST_EVENT_TYPE(e) != GST_EVENT_CAPS)
    return GST_PAD_PROBE_OK;
  GstCaps *in, *out;
  GstVideoInfo info;
  gst_event_parse_caps(e, &in);
  if (!gst_video_info_from_caps(&info, in) || !GST_VIDEO_INFO_IS_YUV(&info))
    return GST_PAD_PROBE_OK;
  char *colorimetry = gst_video_colorimetry_to_string(&info.colorimetry);
  g_object_get(filter, "caps", &out, NULL);
  out = gst_caps_make_writable(out);
  if (colorimetry != NULL)
    gst_caps_set_simple(out, "colorimetry", G_TYPE_STRING, colorimetry, NULL);
  g_object_set(filter, "caps", out, NULL);
  gst_caps_unref(out);
  g_free(colorimetry);
  return GST_PAD_PROBE_OK;
}

// watch_caps finds the converter and the filter behind it, if there are any.
static void watch_caps(GstElement *pipeline) {
  GstElement *convert = gst_bin_get_by_name(GST_BIN(pipeline), "convert");
  GstElement *filter = gst_bin_get_by_name(GST_BIN(pipeline), "keep");
  if (convert != NULL && filter != NULL) {
    GstPad *pad = gst_element_get_static_pad(convert, "sink");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_caps, filter, NULL);
    gst_object_unref(pad);
  }
  gst_clear_object(&convert);
  gst_clear_object(&filter); // the pipeline holds it as long as the pad
}

FlPipe *fl_pipe_new(const char *launch, const char *caps, gconstpointer config, gsize config_size, uintptr_t handle,
                    char **error) {
  GError *e = NULL;
  GstElement *pipeline = gst_parse_launch_full(launch, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &e);
  if (pipeline == NULL) {
    *error = g_strdup(e->message);
    g_error_free(e);
    return NULL;
  }
  FlPipe *p = g_new0(FlPipe, 1);
  p->pipeline = gst_object_ref_sink(pipeline);
  p->handle = handle;
  g_mutex_init(&p->lock);
  p->src = GST_APP_SRC(gst_bin_get_by_name(GST_BIN(pipeline), "src"));
  p->sink = GST_APP_SINK(gst_bin_get_by_name(GST_BIN(pipeline), "sink"));

  if (caps != NULL) {
    GstCaps *c = gst_caps_from_string(caps);
    if (c == NULL) {
      *error = g_strdup_printf("bad caps %s", caps);
      fl_pipe_close(p);
      return NULL;
    }
    if (config_size > 0) {
      GstBuffer *b = gst_buffer_new_memdup(config, config_size);
      gst_caps_set_simple(c, "codec_data", GST_TYPE_BUFFER, b, NULL);
      gst_buffer_unref(b);
    }
    gst_app_src_set_caps(p->src, c);
    gst_caps_unref(c);
  }
  GstAppSrcCallbacks from = {.need_data = on_need_data};
  gst_app_src_set_callbacks(p->src, &from, p, NULL);
  GstAppSinkCallbacks to = {.new_sample = on_sample, .eos = on_eos};
  gst_app_sink_set_callbacks(p->sink, &to, p, NULL);
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(p->sink), "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, on_query, NULL, NULL);
  gst_object_unref(pad);
  watch_caps(pipeline);
  GstBus *bus = gst_element_get_bus(pipeline);
  gst_bus_set_sync_handler(bus, on_message, p, NULL);
  gst_object_unref(bus);

  if (gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
    gboolean failed;
    *error = fl_pipe_error(p, &failed);
    if (*error == NULL)
      *error = g_strdup("it does not start");
    fl_pipe_close(p);
    return NULL;
  }
  return p;
}

void fl_pipe_close(FlPipe *p) {
  gst_element_set_state(p->pipeline, GST_STATE_NULL);
  GstBus *bus = gst_element_get_bus(p->pipeline);
  gst_bus_set_sync_handler(bus, NULL, NULL, NULL);
  gst_object_unref(bus);
  gst_clear_object(&p->src);
  gst_clear_object(&p->sink);
  gst_object_unref(p->pipeline);
  gst_clear_buffer(&p->last);
  g_mutex_clear(&p->lock);
  g_free(p->error);
  g_free(p->warning);
  g_free(p);
}

gboolean fl_pipe_full(FlPipe *p, guint64 limit) { return gst_app_src_get_current_level_buffers(p->src) >= limit; }

static gboolean push(FlPipe *p, GstBuffer *b, guint64 pts, guint64 dts) {
  GST_BUFFER_PTS(b) = pts;
  GST_BUFFER_DTS(b) = dts;
  gst_buffer_replace(&p->last, b);
  return gst_app_src_push_buffer(p->src, b) == GST_FLOW_OK;
}

gboolean fl_pipe_push(FlPipe *p, gconstpointer data, gsize size, guint64 pts, guint64 dts, gboolean delta) {
  GstBuffer *b = gst_buffer_new_memdup(data, size);
  if (delta)
    GST_BUFFER_FLAG_SET(b, GST_BUFFER_FLAG_DELTA_UNIT);
  return push(p, b, pts, dts);
}

gboolean fl_pipe_push_sample(FlPipe *p, GstSample *s, guint64 pts) {
  GstBuffer *b = gst_buffer_copy(gst_sample_get_buffer(s)); // shares the memory
  GST_BUFFER_DURATION(b) = GST_CLOCK_TIME_NONE;
  return push(p, b, pts, GST_CLOCK_TIME_NONE);
}

gboolean fl_pipe_push_again(FlPipe *p, guint64 pts) {
  return p->last != NULL && push(p, gst_buffer_copy(p->last), pts, GST_CLOCK_TIME_NONE);
}

void fl_pipe_end(FlPipe *p) { gst_app_src_end_of_stream(p->src); }

GstSample *fl_pipe_pull(FlPipe *p) { return gst_app_sink_try_pull_sample(p->sink, 0); }

gboolean fl_pipe_ended(FlPipe *p) { return gst_app_sink_is_eos(p->sink); }

char *fl_pipe_error(FlPipe *p, gboolean *failed) {
  g_mutex_lock(&p->lock);
  *failed = p->error != NULL;
  char *text = g_strdup(*failed ? p->error : p->warning);
  g_mutex_unlock(&p->lock);
  return text;
}

// row returns the bytes of a row of a plane of a picture, without padding.
static gsize row(const GstVideoInfo *info, guint plane) {
  for (guint c = 0; c < GST_VIDEO_INFO_N_COMPONENTS(info); c++)
    if (GST_VIDEO_INFO_COMP_PLANE(info, c) == plane)
      return (gsize)GST_VIDEO_INFO_COMP_WIDTH(info, c) * GST_VIDEO_INFO_COMP_PSTRIDE(info, c);
  return 0;
}

static gsize rows(const GstVideoInfo *info, guint plane) {
  for (guint c = 0; c < GST_VIDEO_INFO_N_COMPONENTS(info); c++)
    if (GST_VIDEO_INFO_COMP_PLANE(info, c) == plane)
      return GST_VIDEO_INFO_COMP_HEIGHT(info, c);
  return 0;
}

gboolean fl_sample_read(GstSample *s, gboolean raw, FlSample *out) {
  GstBuffer *b = gst_sample_get_buffer(s);
  memset(out, 0, sizeof *out);
  if (b == NULL)
    return FALSE;
  out->pts = GST_BUFFER_PTS(b);
  out->delta = GST_BUFFER_FLAG_IS_SET(b, GST_BUFFER_FLAG_DELTA_UNIT);
  out->size = gst_buffer_get_size(b);
  if (!raw)
    return TRUE;
  GstVideoInfo info;
  GstCaps *caps = gst_sample_get_caps(s);
  if (caps == NULL || !gst_video_info_from_caps(&info, caps))
    return FALSE;
  out->width = GST_VIDEO_INFO_WIDTH(&info);
  out->height = GST_VIDEO_INFO_HEIGHT(&info);
  out->par_n = GST_VIDEO_INFO_PAR_N(&info);
  out->par_d = GST_VIDEO_INFO_PAR_D(&info);
  out->size = 0;
  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES(&info); i++)
    out->size += row(&info, i) * rows(&info, i);
  return TRUE;
}

gboolean fl_sample_copy(GstSample *s, gboolean raw, gpointer dst) {
  GstBuffer *b = gst_sample_get_buffer(s);
  if (!raw) {
    gsize size = gst_buffer_get_size(b);
    return gst_buffer_extract(b, 0, dst, size) == size;
  }
  GstVideoInfo info;
  GstVideoFrame f;
  if (!gst_video_info_from_caps(&info, gst_sample_get_caps(s)) || !gst_video_frame_map(&f, &info, b, GST_MAP_READ))
    return FALSE;
  guint8 *to = dst;
  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES(&info); i++) {
    gsize bytes = row(&info, i), n = rows(&info, i);
    const guint8 *from = GST_VIDEO_FRAME_PLANE_DATA(&f, i);
    gint stride = GST_VIDEO_FRAME_PLANE_STRIDE(&f, i);
    if ((gsize)stride == bytes) {
      memcpy(to, from, bytes * n);
      to += bytes * n;
      continue;
    }
    for (gsize y = 0; y < n; y++, from += stride, to += bytes)
      memcpy(to, from, bytes);
  }
  gst_video_frame_unmap(&f);
  return TRUE;
}

gpointer fl_sample_config(GstSample *s, gsize *size) {
  GstCaps *caps = gst_sample_get_caps(s);
  const GValue *v = caps != NULL ? gst_structure_get_value(gst_caps_get_structure(caps, 0), "codec_data") : NULL;
  GstBuffer *b = v != NULL && GST_VALUE_HOLDS_BUFFER(v) ? gst_value_get_buffer(v) : NULL;
  gpointer copy = NULL;
  if (b != NULL)
    gst_buffer_extract_dup(b, 0, -1, &copy, size);
  return copy;
}

char *fl_sample_caps(GstSample *s, int fps) {
  GstCaps *caps = gst_caps_copy(gst_sample_get_caps(s));
  gst_caps_set_simple(caps, "framerate", GST_TYPE_FRACTION, fps, 1, NULL);
  char *text = gst_caps_to_string(caps);
  gst_caps_unref(caps);
  return text;
}

char *fl_sample_colorimetry(GstSample *s) {
  return g_strdup(gst_structure_get_string(gst_caps_get_structure(gst_sample_get_caps(s), 0), "colorimetry"));
}
