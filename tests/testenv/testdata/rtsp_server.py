"""GStreamer's own RTSP server: a camera that is not Framelog's.

Serves /cam from an MP4 file, from its start for each client, or a live test
pattern without sound. With --record it takes what a client publishes at /cam, and
writes it to files. Prints "PORT <n>" once it listens.
"""
import argparse
import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

VIDEO = {
    "h264": "h264parse ! rtph264pay name=pay0 pt=96",
    "h265": "h265parse ! rtph265pay name=pay0 pt=96",
    "mjpeg": "jpegparse ! rtpjpegpay name=pay0 pt=26",
}
AUDIO = {
    "aac": "aacparse ! rtpmp4gpay name=pay1 pt=97",
    "opus": "opusparse ! rtpopuspay name=pay1 pt=97",
}
# Of a client that publishes: to the stream of bytes that a decoder takes.
RECORDED = {
    "h264": "rtph264depay name=depay0 ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
    "h265": "rtph265depay name=depay0 ! h265parse ! video/x-h265,stream-format=byte-stream,alignment=au",
    "mjpeg": "rtpjpegdepay name=depay0",
    "aac": "rtpmp4gdepay name=depay1 ! aacparse ! audio/mpeg,stream-format=adts",
}
# Encoded here, of a file with raw sound: the rate, then encoder and payloader.
ENCODED = {
    "pcmu": (8000, "mulawenc ! rtppcmupay"),
    "pcma": (8000, "alawenc ! rtppcmapay"),
    "g722": (16000, "avenc_g722 ! rtpg722pay"),
    "l16": (44100, "rtpL16pay"),
    "l24": (48000, "rtpL24pay"),
    "mp2": (48000, "twolamemp2enc ! mpegaudioparse ! rtpmpapay"),
    "mp3": (44100, "lamemp3enc ! mpegaudioparse ! rtpmpapay"),
    "ac3": (48000, "avenc_ac3 ! ac3parse ! rtpac3pay"),
    "speex": (16000, "speexenc ! rtpspeexpay"),
    "vorbis": (48000, "vorbisenc ! rtpvorbispay"),
    "gsm": (8000, "gsmenc ! rtpgsmpay"),
    "amr": (8000, "amrnbenc ! rtpamrpay"),
    "aac-raw": (48000, "avenc_aac ! aacparse ! rtpmp4gpay"),
    "aac-latm": (48000, "avenc_aac ! aacparse ! rtpmp4apay"),
    "opus-raw": (48000, "opusenc ! rtpopuspay"),
}
for name, (rate, chain) in ENCODED.items():
    AUDIO[name] = "audioconvert ! audioresample ! audio/x-raw,rate=%d,channels=1 ! %s name=pay1 pt=97" % (rate, chain)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--file")
    a.add_argument("--launch", help="the whole pipeline, with payloaders named pay0, pay1")
    a.add_argument("--video", default="h264", choices=VIDEO)
    a.add_argument("--audio", default="", choices=["", *AUDIO])
    a.add_argument("--record", help="the files to write, without .video and .audio")
    a.add_argument("--port", default="0")
    a.add_argument("--user")
    a.add_argument("--password-env", help="environment variable that holds the password")
    args = a.parse_args()
    Gst.init(None)

    if args.record:
        launch = '%s ! filesink sync=false async=false location="%s.video"' % (RECORDED[args.video], args.record)
        if args.audio:
            launch += ' %s ! filesink sync=false async=false location="%s.audio"' % (RECORDED[args.audio], args.record)
    elif args.launch:
        launch = args.launch
    elif args.file:
        launch = 'filesrc location="%s" ! qtdemux name=d d.video_0 ! queue max-size-time=0 max-size-bytes=0 ! %s' % (
            args.file, VIDEO[args.video])
        if args.audio:
            launch += " d.audio_0 ! queue max-size-time=0 max-size-bytes=0 ! " + AUDIO[args.audio]
    else:
        launch = (
            "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1"
            " ! x264enc speed-preset=veryfast bitrate=1000 key-int-max=30 tune=zerolatency ! " + VIDEO["h264"]
        )

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( " + launch + " )")
    factory.set_shared(not args.file and not args.launch and not args.record)
    if args.record:
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        factory.set_eos_shutdown(True)  # so that parsers give their last frame

    if args.user:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(args.user, os.environ[args.password_env], token)
        server.set_auth(auth)
        role = GstRtspServer.RTSPPermissions()
        role.add_permission_for_role("viewer", "media.factory.access", True)
        role.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(role)

    server.get_mount_points().add_factory("/cam", factory)
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    print("PORT", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
