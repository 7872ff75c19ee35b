//go:build cgo

#include "rtsp.h"

// In rtsp_export.go.
extern FlQueue *framelogRTSPOrdered(uintptr_t, guint);

// FlOrdered stands in the place of the jitterbuffer of video where packets come in their
// order, as in the RTSP connection: it passes them on in the thread that has read them. A
// jitterbuffer has a thread of its own, which each packet would wake.
//
// That thread of rtspsrc must never wait for a change of state: rtspsrc's own waits for the
// thread. A sink that is no more in PLAYING has a caller wait. So when the connection is
// closed, FlOrdered is shut first (fl_rtsp_shut).
typedef struct {
  GstElement parent;
  GstPad *src;
  FlQueue *queue;
} FlOrdered;

typedef GstElementClass FlOrderedClass;

static GType fl_ordered_get_type(void);
G_DEFINE_TYPE(FlOrdered, fl_ordered, GST_TYPE_ELEMENT)

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS("application/x-rtp"));
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS("application/x-rtp"));

static GstFlowReturn ordered_chain(GstPad *pad, GstObject *parent, GstBuffer *b) {
  FlOrdered *o = (FlOrdered *)parent;
  GstFlowReturn r = GST_FLOW_FLUSHING;
  g_rec_mutex_lock(&o->queue->passing);
  if (!o->queue->shut)
    r = gst_pad_push(o->src, b);
  else
    gst_buffer_unref(b);
  g_rec_mutex_unlock(&o->queue->passing);
  return r;
}

static gboolean ordered_event(GstPad *pad, GstObject *parent, GstEvent *e) {
  FlOrdered *o = (FlOrdered *)parent;
  gboolean r = FALSE;
  g_rec_mutex_lock(&o->queue->passing);
  if (!o->queue->shut)
    r = gst_pad_event_default(pad, parent, e);
  else
    gst_event_unref(e);
  g_rec_mutex_unlock(&o->queue->passing);
  return r;
}

void fl_rtsp_shut(FlQueue *q) {
  g_rec_mutex_lock(&q->passing);
  q->shut = TRUE;
  g_rec_mutex_unlock(&q->passing);
}

// ordered_set takes the properties of a jitterbuffer that rtpbin sets, and has no use for them.
static void ordered_set(GObject *o, guint id, const GValue *v, GParamSpec *spec) {}

static void fl_ordered_class_init(FlOrderedClass *c) {
  G_OBJECT_CLASS(c)->set_property = ordered_set;
  g_object_class_install_property(
      G_OBJECT_CLASS(c), 1, g_param_spec_uint("latency", "latency", "ignored", 0, G_MAXUINT, 0, G_PARAM_WRITABLE | G_PARAM_STATIC_STRINGS));
  gst_element_class_add_static_pad_template(c, &sink_template);
  gst_element_class_add_static_pad_template(c, &src_template);
  gst_element_class_set_static_metadata(c, "Packets in order", "Generic", "passes packets on", "Framelog");
}

static void fl_ordered_init(FlOrdered *o) {
  GstPad *sink = gst_pad_new_from_static_template(&sink_template, "sink");
  gst_pad_set_chain_function(sink, ordered_chain);
  gst_pad_set_event_function(sink, ordered_event);
  GST_PAD_SET_PROXY_CAPS(sink);
  gst_element_add_pad(GST_ELEMENT(o), sink);
  o->src = gst_pad_new_from_static_template(&src_template, "src");
  GST_PAD_SET_PROXY_CAPS(o->src);
  gst_element_add_pad(GST_ELEMENT(o), o->src);
}

GstElement *fl_rtsp_ordered(GstElement *rtpbin, guint session, gpointer p) {
  FlQueue *q = framelogRTSPOrdered((uintptr_t)p, session);
  if (q == NULL)
    return gst_element_factory_make("rtpjitterbuffer", NULL);
  FlOrdered *o = g_object_new(fl_ordered_get_type(), NULL);
  o->queue = q;
  return GST_ELEMENT(o);
}
