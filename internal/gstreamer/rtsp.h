// The part of the RTSP client that runs on GStreamer's threads for each RTP
// packet and each unit. It is C, because a call into Go for each packet would
// cost more than the rest of the pipeline. See rtsp.go for its purpose.

#ifndef FRAMELOG_RTSP_H
#define FRAMELOG_RTSP_H

#include <gst/gst.h>
#include <stdint.h>

// Bias is added to extended RTP times in buffers, so that a camera's clock may
// go back without the unsigned time of a buffer going below 0.
#define FL_RTSP_BIAS (G_GINT64_CONSTANT(1) << 32)

// Kinds of fl_rtsp messages.
enum { FL_RTSP_ERROR = 1, FL_RTSP_EOS, FL_RTSP_PLAYING, FL_RTSP_CERTIFICATE, FL_RTSP_SOUND_ERROR, FL_RTSP_VIDEO_EOS, FL_RTSP_REDIRECTED };

// The name of the bin that holds the elements of the sound.
#define FL_RTSP_SOUND_BIN "sound"

// Payloads whose units are split over packets.
enum { FL_RTSP_SOUND = 0, FL_RTSP_H264, FL_RTSP_H265, FL_RTSP_JPEG };

// FL_RTSP_G726 + n is G.726 with codewords of n bits, packed as RFC 3551 has them.
enum { FL_RTSP_G726 = 16 };

// Data of each unit.
typedef struct {
  guint64 pts;     // ns of biased extended RTP time; G_MAXUINT64: none
  guint32 packets; // RTP packets since the unit before
  guint32 lost;    // missing RTP packets since the unit before
  gboolean damaged;
  gint64 arrived; // µs since 1970
} FlUnit;

// Data of the first unit of a track, and of a unit with changed caps.
typedef struct {
  const char *media; // NULL: no change
  gconstpointer config;
  gsize config_size;
  int width, height, rate, channels;
} FlFormat;

// A unit that waits for Go, with its format if that is new. The pointers are valid
// until fl_rtsp_free.
typedef struct FlItem {
  struct FlItem *next;
  guint8 track;
  FlFormat format;
  FlUnit unit;
  gpointer data;
  gsize size;
  // private
  GstSample *sample;
  GstMapInfo map, config_map;
  GstBuffer *config;
} FlItem;

// The units of one connection that wait for Go. Go looks at it every few
// milliseconds: a call for each unit would wake one of Go's threads each time, which
// costs more than the unit.
typedef struct {
  uintptr_t conn;
  GMutex lock;
  FlItem *first, *last;
  volatile gint count; // may be read without the lock
  gsize bytes;
  GRecMutex passing; // held while a packet passes an element of fl_rtsp_ordered
  gboolean shut;     // none passes any more; guarded by passing
} FlQueue;

// If the queue holds this much, the streaming thread calls into Go to empty it.
#define FL_RTSP_QUEUE_COUNT 64
#define FL_RTSP_QUEUE_BYTES (1 << 20)

FlQueue *fl_rtsp_queue_new(uintptr_t conn);
void fl_rtsp_queue_free(FlQueue *q);

// fl_rtsp_steal empties a queue; fl_rtsp_free frees what it gave.
FlItem *fl_rtsp_steal(FlQueue *q);
void fl_rtsp_free(FlItem *items);

// What is told with the first RTP packet of a track.
typedef struct {
  guint32 ssrc, rtp_time, clock_rate;
  gboolean has_clock_base; // RTP-Info gave the RTP time of the start
  guint32 clock_base;
} FlStart;

// fl_rtsp_attach watches one track: depay is its depayloader, sink its
// appsink. What it makes goes with those two elements; the queue must outlive
// their streaming thread.
void fl_rtsp_attach(GstElement *depay, GstElement *sink, FlQueue *queue, guint8 track, guint32 clock_rate, int payload);

// fl_rtsp_decoded watches decoded sound before the element that converts it.
void fl_rtsp_decoded(GstElement *convert, guint32 clock_rate);

// fl_rtsp_entry makes the sink pad of a bin's first element the bin's. sound is the
// connection if the bin is that of the sound, else 0.
void fl_rtsp_entry(GstElement *bin, GstElement *first, uintptr_t sound);

// fl_rtsp_sound_depayloader finds, in the registry, the depayloader of the
// highest rank that accepts an RTP stream and gives sound that some decoder accepts.
// NULL: there is none. The caller frees the name.
char *fl_rtsp_sound_depayloader(GstCaps *stream);

// fl_rtsp_repack_g726 puts the codewords of a payload, each of so many bits, from the
// order of RFC 3551 (4.5.4: the first in the lowest bits of the first octet) into
// that of AAL2, which decoders expect. The depayloader does it for two and four
// bits alone.
void fl_rtsp_repack_g726(guint8 *p, guint size, int bits);

// fl_rtsp_of_sound reports whether an element belongs to the sound.
gboolean fl_rtsp_of_sound(GstObject *o);

// fl_rtsp_watch_sdp completes the SDP of a camera before the streams are made of it.
void fl_rtsp_watch_sdp(GstElement *rtspsrc);

// fl_rtsp_watch_manager reads the sender reports that reach an rtpbin, and
// prepares its jitterbuffers; ordered: packets come in order, and video needs none.
void fl_rtsp_watch_manager(GstElement *rtpbin, uintptr_t conn, gboolean ordered);

// fl_rtsp_ordered makes what is in the place of the jitterbuffer of a session: for video
// an element without a thread. p is the connection.
GstElement *fl_rtsp_ordered(GstElement *rtpbin, guint session, gpointer p);

// fl_rtsp_shut lets no packet pass any more. It is called before the pipeline stops.
void fl_rtsp_shut(FlQueue *q);

// fl_rtsp_watch_bus hands errors, the end and the progress of a pipeline over
// and drops all other messages; conn 0 ends that.
void fl_rtsp_watch_bus(GstElement *pipeline, uintptr_t conn);

// fl_rtsp_watch_certificate tells of a certificate that did not pass the check.
void fl_rtsp_watch_certificate(GstElement *rtspsrc, uintptr_t conn);

// fl_rtsp_watch_login makes rtspsrc send credentials that the camera refuses once, and
// tells of the refusal as an error with status 401. reopen: a connection that ends
// before PLAY is made anew, and they may be sent twice.
void fl_rtsp_watch_login(GstElement *rtspsrc, uintptr_t conn, gboolean reopen);

#endif
