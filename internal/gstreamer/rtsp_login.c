//go:build cgo

// The certificate of a camera, and when it gets user and password.

#include "rtsp.h"

#include <gio/gio.h>
#include <gst/rtsp/gstrtspmessage.h>
#include <gst/rtsp/gstrtspurl.h>

// In rtsp_export.go.
extern void framelogRTSPMessage(uintptr_t, int, char *, int, int);

static gboolean on_certificate(GstElement *src, GTlsConnection *tls, GTlsCertificate *cert, GTlsCertificateFlags flags,
                               gpointer p) {
  framelogRTSPMessage((uintptr_t)p, FL_RTSP_CERTIFICATE, NULL, flags, 0);
  return FALSE;
}

// Login belongs to the thread of an rtspsrc that sends its requests.
typedef struct {
  uintptr_t conn;
  int allowed; // how often a request may be sent with credentials in all
  GstRTSPMethod method; // of the last request
  char *uri;
  int sent; // how often
  gboolean refused;
  char *address; // of the camera; NULL: it has redirected to another one
} Login;

static void login_free(gpointer p, GClosure *closure) {
  Login *l = p;
  g_free(l->uri);
  g_free(l->address);
  g_free(l);
}

// address_of returns host, port and transport of the address to which rtspsrc is connected.
static char *address_of(GstElement *src) {
  char *location = NULL, *address = NULL;
  GstRTSPUrl *url = NULL;
  guint16 port = 0;
  g_object_get(src, "location", &location, NULL);
  if (gst_rtsp_url_parse(location, &url) == GST_RTSP_OK && gst_rtsp_url_get_port(url, &port) == GST_RTSP_OK)
    address = g_strdup_printf("%s:%u, %d", url->host, port, url->transports);
  gst_rtsp_url_free(url);
  g_free(location);
  return address;
}

// forget_login takes the credentials from an rtspsrc that the camera has redirected to another address.
// rtspsrc has a new connection then, and has sent nothing over it.
static void forget_login(GstElement *src, Login *l) {
  char *now = address_of(src);
  if (l->address != NULL && g_strcmp0(now, l->address) != 0) {
    g_clear_pointer(&l->address, g_free);
    g_object_set(src, "user-id", NULL, "user-pw", NULL, NULL);
    framelogRTSPMessage(l->conn, FL_RTSP_REDIRECTED, NULL, 0, 0);
  }
  g_free(now);
}

// before_send stops rtspsrc from sending refused credentials again: it would do so
// eight times, and many cameras lock an account after fewer. A request is sent once
// with the present credentials (none, or with a nonce that may be stale) and once more
// with the answer to the challenge of the first one. If the message already has an
// answer, the camera has refused that too, or rtspsrc has reopened the connection; the
// message does not show which. If rtspsrc may reopen it, a request is sent once more.
static gboolean before_send(GstElement *src, GstRTSPMessage *m, gpointer p) {
  Login *l = p;
  GstRTSPMethod method;
  const char *uri;
  char *answer;
  if (l->refused)
    return FALSE; // not even TEARDOWN, which would send them again
  forget_login(src, l);
  if (gst_rtsp_message_parse_request(m, &method, &uri, NULL) != GST_RTSP_OK)
    return TRUE;
  if (method != l->method || g_strcmp0(uri, l->uri) != 0) {
    l->method = method;
    g_free(l->uri);
    l->uri = g_strdup(uri);
    l->sent = 0;
    if (method == GST_RTSP_PLAY) // from now on a connection that ends is not reopened
      g_object_set(src, "udp-reconnect", FALSE, NULL);
  }
  if (++l->sent > l->allowed && gst_rtsp_message_get_header(m, GST_RTSP_HDR_AUTHORIZATION, &answer, 0) == GST_RTSP_OK) {
    l->refused = TRUE;
    framelogRTSPMessage(l->conn, FL_RTSP_ERROR, (char *)g_quark_to_string(GST_RESOURCE_ERROR),
                        GST_RESOURCE_ERROR_NOT_AUTHORIZED, GST_RTSP_STS_UNAUTHORIZED);
  }
  return !l->refused;
}

void fl_rtsp_watch_login(GstElement *rtspsrc, uintptr_t conn, gboolean reopen) {
  Login *l = g_new0(Login, 1);
  l->conn = conn;
  l->allowed = reopen ? 3 : 2;
  l->address = address_of(rtspsrc);
  g_object_set(rtspsrc, "udp-reconnect", reopen, NULL);
  g_signal_connect_data(rtspsrc, "before-send", G_CALLBACK(before_send), l, login_free, 0);
}

void fl_rtsp_watch_certificate(GstElement *rtspsrc, uintptr_t conn) {
  g_signal_connect(rtspsrc, "accept-certificate", G_CALLBACK(on_certificate), (gpointer)conn);
}
