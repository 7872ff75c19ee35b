//go:build cgo

// What the sound of a camera needs beside its depayloader and its decoder.

#include "rtsp.h"

// In rtsp_export.go.
extern void framelogRTSPMessage(uintptr_t, int, char *, int, int);

void fl_rtsp_repack_g726(guint8 *p, guint size, int bits) {
  guint32 in = 0, out = 0;
  int have = 0, filled = 0;
  guint written = 0;
  for (guint i = 0; i < size; i++) {
    in |= (guint32)p[i] << have;
    have += 8;
    for (; have >= bits; have -= bits) {
      out = out << bits | (in & ((1u << bits) - 1));
      in >>= bits;
      filled += bits;
      if (filled >= 8) {
        filled -= 8;
        p[written++] = out >> filled; // never ahead of what was read
      }
    }
  }
}

// gives_sound reports whether a depayloader gives sound that needs no decoder, or
// that one of decoders accepts.
static gboolean gives_sound(GstElementFactory *depay, GList *decoders) {
  const GList *l = gst_element_factory_get_static_pad_templates(depay);
  for (; l != NULL; l = l->next) {
    GstStaticPadTemplate *t = l->data;
    if (t->direction != GST_PAD_SRC)
      continue;
    GstCaps *caps = gst_static_pad_template_get_caps(t);
    gboolean raw = gst_caps_get_size(caps) > 0 &&
                   gst_structure_has_name(gst_caps_get_structure(caps, 0), "audio/x-raw");
    GList *able = gst_element_factory_list_filter(decoders, caps, GST_PAD_SINK, FALSE);
    gboolean ok = raw || able != NULL;
    gst_plugin_feature_list_free(able);
    gst_caps_unref(caps);
    if (ok)
      return TRUE;
  }
  return FALSE;
}

char *fl_rtsp_sound_depayloader(GstCaps *stream) {
  GList *all = gst_element_factory_list_get_elements(GST_ELEMENT_FACTORY_TYPE_DEPAYLOADER, GST_RANK_MARGINAL);
  // rtspsrc calls a stream application/x-unknown when it asks whether to take it.
  GstCaps *rtp = gst_caps_copy(stream);
  for (guint i = 0; i < gst_caps_get_size(rtp); i++)
    gst_structure_set_name(gst_caps_get_structure(rtp, i), "application/x-rtp");
  GList *depays = gst_element_factory_list_filter(all, rtp, GST_PAD_SINK, FALSE);
  gst_caps_unref(rtp);
  GList *decoders = gst_element_factory_list_get_elements(
      GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_AUDIO, GST_RANK_MARGINAL);
  depays = g_list_sort(depays, gst_plugin_feature_rank_compare_func);
  char *name = NULL;
  for (GList *l = depays; l != NULL && name == NULL; l = l->next)
    if (gives_sound(l->data, decoders))
      name = g_strdup(GST_OBJECT_NAME(l->data));
  gst_plugin_feature_list_free(all);
  gst_plugin_feature_list_free(depays);
  gst_plugin_feature_list_free(decoders);
  return name;
}

gboolean fl_rtsp_of_sound(GstObject *o) {
  for (; o != NULL; o = GST_OBJECT_PARENT(o))
    if (g_strcmp0(GST_OBJECT_NAME(o), FL_RTSP_SOUND_BIN) == 0)
      return TRUE;
  return FALSE;
}

// after_decoder leaves out sound whose time is not known yet: a decoder may consume
// the first frame, which has a time, to build its state, and count the frames after it
// from 0. RTP times are far above that by their bias.
static GstPadProbeReturn after_decoder(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  guint64 lowest = gst_util_uint64_scale(FL_RTSP_BIAS / 2, GST_SECOND, GPOINTER_TO_UINT(p));
  GstClockTime pts = GST_BUFFER_PTS((GstBuffer *)info->data);
  return GST_CLOCK_TIME_IS_VALID(pts) && pts > lowest ? GST_PAD_PROBE_OK : GST_PAD_PROBE_DROP;
}

void fl_rtsp_decoded(GstElement *convert, guint32 clock_rate) {
  GstPad *pad = gst_element_get_static_pad(convert, "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, after_decoder, GUINT_TO_POINTER(clock_rate), NULL);
  gst_object_unref(pad);
}

// before_sound comes before all elements of the sound. If a depayloader does not
// accept what SDP tells of the sound, it refuses the caps, which would end the
// connection: its packets are left out instead.
static GstPadProbeReturn before_sound(GstPad *pad, GstPadProbeInfo *info, gpointer p) {
  static const char *refused = "framelog-refused";
  if (info->type & GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM) {
    if (GST_QUERY_TYPE(info->data) != GST_QUERY_ACCEPT_CAPS)
      return GST_PAD_PROBE_OK;
    gst_query_set_accept_caps_result(info->data, TRUE); // the caps event, when it comes, shows whether they are accepted
    return GST_PAD_PROBE_HANDLED;
  }
  if (!(info->type & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM))
    return g_object_get_data(G_OBJECT(pad), refused) != NULL ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
  GstEvent *e = info->data;
  if (GST_EVENT_TYPE(e) != GST_EVENT_CAPS)
    return GST_PAD_PROBE_OK;
  GstPad *target = gst_ghost_pad_get_target(GST_GHOST_PAD(pad));
  gboolean ok = gst_pad_send_event(target, gst_event_ref(e));
  gst_object_unref(target);
  g_object_set_data(G_OBJECT(pad), refused, ok ? NULL : (gpointer)refused);
  if (!ok)
    framelogRTSPMessage((uintptr_t)p, FL_RTSP_SOUND_ERROR, (char *)g_quark_to_string(GST_CORE_ERROR),
                        GST_CORE_ERROR_NEGOTIATION, 0);
  return GST_PAD_PROBE_DROP; // it was sent above
}

void fl_rtsp_entry(GstElement *bin, GstElement *first, uintptr_t sound) {
  GstPad *pad = gst_element_get_static_pad(first, "sink");
  GstPad *ghost = gst_ghost_pad_new("sink", pad);
  if (sound != 0)
    gst_pad_add_probe(ghost,
                      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST |
                          GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM,
                      before_sound, (gpointer)sound, NULL);
  gst_element_add_pad(bin, ghost);
  gst_object_unref(pad);
}
