// A pipeline with one appsrc, named src, and one appsink, named sink. It is C because
// buffers of raw pictures must be released at once, and Go's garbage collector does not
// know their size. See pipe.go for its purpose.

#ifndef FRAMELOG_PIPE_H
#define FRAMELOG_PIPE_H

#include <gst/gst.h>
#include <stdint.h>

typedef struct FlPipe FlPipe;

// What framelogPipeWake is told: there is room for another buffer, or something to pull.
enum { FL_PIPE_ROOM = 1, FL_PIPE_READY };

// fl_pipe_new makes and starts a pipeline in launch syntax. caps, if not NULL, are those
// of the source; config, if it is not empty, becomes their codec_data. On failure it
// returns NULL and an error text, which the caller frees.
FlPipe *fl_pipe_new(const char *launch, const char *caps, gconstpointer config, gsize config_size, uintptr_t handle,
                    char **error);

// fl_pipe_close stops and frees a pipeline. Nothing is called after it.
void fl_pipe_close(FlPipe *p);

// fl_pipe_full reports whether the source holds as many buffers as it may.
gboolean fl_pipe_full(FlPipe *p, guint64 limit);

// fl_pipe_push copies data into a buffer. Times are in ns. It returns FALSE if the
// pipeline takes no more.
gboolean fl_pipe_push(FlPipe *p, gconstpointer data, gsize size, guint64 pts, guint64 dts, gboolean delta);

// fl_pipe_push_sample pushes the buffer of a sample without a copy of its pixels.
gboolean fl_pipe_push_sample(FlPipe *p, GstSample *s, guint64 pts);

// fl_pipe_push_again pushes the last buffer again, with another time.
gboolean fl_pipe_push_again(FlPipe *p, guint64 pts);

// fl_pipe_end tells the pipeline that nothing more comes.
void fl_pipe_end(FlPipe *p);

// fl_pipe_pull returns the next sample, NULL if there is none now.
GstSample *fl_pipe_pull(FlPipe *p);

// fl_pipe_ended reports whether all samples have been pulled.
gboolean fl_pipe_ended(FlPipe *p);

// fl_pipe_error returns the first error, or else the last warning, which the caller
// frees; NULL: none. failed tells whether it is an error.
char *fl_pipe_error(FlPipe *p, gboolean *failed);

// What a sample is.
typedef struct {
  guint64 pts;
  gboolean delta;
  gsize size; // of the data, for raw pictures without padding
  // Raw pictures:
  int width, height;
  int par_n, par_d; // shape of a pixel
} FlSample;

// fl_sample_read describes a sample. raw: it is a picture.
gboolean fl_sample_read(GstSample *s, gboolean raw, FlSample *out);

// fl_sample_copy copies the data of a sample, for raw pictures without padding. dst has
// room for FlSample.size bytes.
gboolean fl_sample_copy(GstSample *s, gboolean raw, gpointer dst);

// fl_sample_config copies the codec_data of a sample's caps; NULL: there is none. The
// caller frees it.
gpointer fl_sample_config(GstSample *s, gsize *size);

// fl_sample_caps returns the caps of a picture as text, with another frame rate. The
// caller frees it.
char *fl_sample_caps(GstSample *s, int fps);

// fl_sample_colorimetry returns the colorimetry in the caps of a picture as text, which
// the caller frees; NULL: there is none.
char *fl_sample_colorimetry(GstSample *s);

#endif
