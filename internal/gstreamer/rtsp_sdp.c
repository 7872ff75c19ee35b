//go:build cgo

// What SDP leaves out and rtspsrc needs.

#include "rtsp.h"

#include <gst/rtp/gstrtppayloads.h>
#include <gst/sdp/gstsdpmessage.h>
#include <string.h>

// In rtsp_sdp.go.
extern char *framelogRTSPParameters(char *);

// has_rtpmap reports whether a media section describes a payload type.
static gboolean has_rtpmap(const GstSDPMedia *m, guint payload) {
  const char *v;
  for (guint i = 0; (v = gst_sdp_media_get_attribute_val_n(m, "rtpmap", i)) != NULL; i++)
    if (g_ascii_strtoull(v, NULL, 10) == payload)
      return TRUE;
  return FALSE;
}

// add_rtpmaps describes the static payload types (RFC 3551, 6) that a media section
// does not describe: rtspsrc knows only their clock rate. Sound of an unknown type gets
// a name that nothing decodes: else rtspsrc would leave it out without telling.
static void add_rtpmaps(GstSDPMedia *m) {
  for (guint i = 0; i < gst_sdp_media_formats_len(m); i++) {
    const char *format = gst_sdp_media_get_format(m, i);
    char *end;
    guint64 payload = g_ascii_strtoull(format, &end, 10);
    if (end == format || *end != 0 || payload > 127 || has_rtpmap(m, payload))
      continue;
    const char *media = gst_sdp_media_get_media(m);
    const GstRTPPayloadInfo *info = gst_rtp_payload_info_for_pt(payload);
    char *v = NULL;
    if (info != NULL && info->clock_rate != 0 && g_strcmp0(info->media, media) == 0) {
      const char *channels = info->encoding_parameters;
      gboolean some = channels != NULL && *channels != 0;
      v = g_strdup_printf("%u %s/%u%s%s", (guint)payload, info->encoding_name, info->clock_rate, some ? "/" : "",
                          some ? channels : "");
    } else if (g_strcmp0(media, "audio") == 0 && gst_sdp_media_formats_len(m) == 1) {
      v = g_strdup_printf("%u PAYLOAD-TYPE-%u/8000", (guint)payload, (guint)payload);
    }
    if (v == NULL)
      continue;
    gst_sdp_media_add_attribute(m, "rtpmap", v);
    g_free(v);
  }
}

static void on_sdp(GstElement *src, GstSDPMessage *sdp, gpointer p) {
  for (guint i = 0; i < gst_sdp_message_medias_len(sdp); i++) {
    GstSDPMedia *m = (GstSDPMedia *)gst_sdp_message_get_media(sdp, i);
    add_rtpmaps(m);
    for (guint n = 0; n < gst_sdp_media_attributes_len(m); n++) {
      const GstSDPAttribute *a = gst_sdp_media_get_attribute(m, n);
      if (g_strcmp0(a->key, "fmtp") != 0 || a->value == NULL)
        continue;
      char *v = framelogRTSPParameters(a->value);
      if (v == NULL)
        continue;
      GstSDPAttribute changed;
      if (gst_sdp_attribute_set(&changed, "fmtp", v) == GST_SDP_OK)
        gst_sdp_media_replace_attribute(m, n, &changed);
      free(v);
    }
  }
}

void fl_rtsp_watch_sdp(GstElement *rtspsrc) {
  g_signal_connect(rtspsrc, "on-sdp", G_CALLBACK(on_sdp), NULL);
}
