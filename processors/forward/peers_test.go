package forward

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// camera gives the fragments of a clip, over and over, with media time that goes on.
type camera struct {
	clip   testmedia.Clip
	round  []testmedia.Fragment
	hashes []string // of the decoded pictures of the clip
	sounds []string // of its frames of sound
	next   int
}

const clipSeconds = 3

func newCamera(t *testing.T, audio bool, video ...string) *camera {
	t.Helper()
	c := &camera{clip: testmedia.MakeClip(t, clipSeconds, audio, video...)}
	for i, s := range c.clip.Samples[schemas.VideoTrack] { // ffmpeg has guessed some durations
		s.DTS, s.Duration = int64(i)*frameTicks, frameTicks
		c.clip.Samples[schemas.VideoTrack][i] = s
	}
	c.hashes = testmedia.Hashes(t, c.clip.Path, testmedia.Pictures...)
	for _, s := range c.clip.Samples[schemas.AudioTrack] {
		c.sounds = append(c.sounds, fmt.Sprintf("%x", md5.Sum(s.Data)))
	}
	return c
}

const frameTicks = schemas.MediaTimescale / 25

// fragment returns the next fragment, a second long, and the hashes of its pictures.
func (c *camera) fragment() (*processors.Fragment, []string) {
	if c.next%clipSeconds == 0 {
		place := testmedia.Place{
			Seq: uint64(c.next) + 1, Session: 1, Layout: testmedia.Layout,
			Start: testmedia.Start.Add(time.Duration(c.next) * time.Second),
		}
		c.round = c.clip.Fragments(place, 5)
	}
	i := c.next % clipSeconds
	c.next++
	f := c.round[i]
	return processors.NewFragment("door", f.Entry, f.Chunks...), c.hashes[25*i : 25*(i+1)]
}

// receiver is a server of others that takes what is pushed.
type receiver interface {
	// start starts it at a port.
	start(t *testing.T, port int)
	url(port int) string
	// received waits until the receiver has ended after its client has, and returns the
	// hashes of the decoded pictures and of the frames of sound.
	received(t *testing.T) (pictures, sounds []string)
	process() *testenv.Process
}

// ffmpegServer is FFmpeg as a server for one client.
type ffmpegServer struct {
	scheme string
	*testenv.Process
	out *testenv.Log
}

func (f *ffmpegServer) url(port int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d/live/{camera}", f.scheme, port)
}

func (f *ffmpegServer) process() *testenv.Process { return f.Process }

func (f *ffmpegServer) start(t *testing.T, port int) {
	t.Helper()
	listen := []string{"-rtsp_flags", "listen"}
	if f.scheme == "rtmp" {
		listen = []string{"-listen", "1"}
	}
	args := slices.Concat([]string{"-nostdin", "-v", "error"}, listen, []string{
		"-i", strings.Replace(f.url(port), placeholder, "door", 1), "-map", "0:v:0", "-map", "0:a:0?",
		"-c:a", "copy", "-fps_mode", "passthrough", "-f", "framehash", "-hash", "md5", "-",
	})
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), args...)
	f.out = &testenv.Log{}
	cmd.Stdout = f.out
	f.Process = testenv.Start(t, "ffmpeg", cmd)
	f.Wait(t, testenv.Patience, "listening", func() bool { return listens(t, port) })
}

// listens reports whether a process listens at a port of IPv4. It does not connect: FFmpeg
// serves only the first client. The line is that of proc_pid_net(5); 0A is LISTEN.
func listens(t *testing.T, port int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(fmt.Sprintf(`(?m)^ *\d+: [0-9A-F]{8}:%04X [0-9A-F]{8}:0000 0A `, port)).Match(b)
}

func (f *ffmpegServer) received(t *testing.T) (pictures, sounds []string) {
	t.Helper()
	if f.ExitCode(testenv.Patience) == -1 {
		t.Fatal("ffmpeg does not end after its client has")
	}
	h, err := testenv.ParseHashes([]byte(f.out.String()))
	if err != nil {
		t.Fatal(err)
	}
	return sums(h.Video), sums(h.Audio)
}

// gstServer is GStreamer's RTSP server, which writes files.
type gstServer struct {
	video, audio string
	user         string
	*testenv.GstRTSPServer
	path string
}

func (g *gstServer) url(port int) string {
	login := ""
	if g.user != "" {
		login = g.user + ":${FRAMELOG_SECRET_PEER}@"
	}
	return fmt.Sprintf("rtsp://%s127.0.0.1:%d/cam", login, port)
}

func (g *gstServer) process() *testenv.Process { return g.Process }

func (g *gstServer) start(t *testing.T, port int) {
	t.Helper()
	g.path = filepath.Join(t.TempDir(), "received")
	g.GstRTSPServer = testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{
		Record: g.path, Port: port, Video: g.video, Audio: g.audio, User: g.user, Pass: os.Getenv("FRAMELOG_SECRET_PEER"),
	})
}

// settle waits until the files grow no more: the server goes on for another client.
func (g *gstServer) settle(t *testing.T) {
	t.Helper()
	size := func() (n int64) {
		for _, ext := range []string{".video", ".audio"} {
			if i, err := os.Stat(g.path + ext); err == nil {
				n += i.Size()
			}
		}
		return n
	}
	before := int64(-1)
	var since time.Time
	testenv.Poll(t, testenv.Patience, func() bool {
		if n := size(); n != before {
			before, since = n, time.Now()
		}
		return before > 0 && time.Since(since) > time.Second
	})
}

func (g *gstServer) received(t *testing.T) (pictures, sounds []string) {
	t.Helper()
	g.settle(t)
	format := map[string]string{"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}[g.video]
	pictures = decoded(t, format, g.path+".video")
	if g.audio != "" {
		sounds = sums(testenv.FrameHashes(t, g.path+".audio", testenv.HashOptions{
			Input: []string{"-f", "aac"}, Output: []string{"-bsf:a", "aac_adtstoasc"}, Copy: true,
		}).Audio)
	}
	return pictures, sounds
}

// decoded are the hashes of the pictures of a file, as FFmpeg decodes it.
func decoded(t *testing.T, format, path string) []string {
	t.Helper()
	return sums(testenv.FrameHashes(t, path, testenv.HashOptions{Input: []string{"-f", format}}).Video)
}

func sums(all []testenv.Hash) (hashes []string) {
	for _, h := range all {
		hashes = append(hashes, h.Sum)
	}
	return hashes
}

// peer pushes to a receiver.
type peer struct {
	receiver
	f    *forwarder
	port int
}

func newPeer(t *testing.T, r receiver, s Settings) *peer {
	t.Helper()
	testenv.SkipShort(t, "servers of others")
	p := &peer{receiver: r, port: testenv.FreePort(t)}
	s.URL = r.url(p.port)
	s.MaxDelay = cmp.Or(s.MaxDelay, time.Minute) // the machine may stand still
	var err error
	if p.f, err = newForwarder("push", s); err != nil {
		t.Fatal(err)
	}
	p.f.backoff = 100 * time.Millisecond
	t.Cleanup(p.hangUp)
	return p
}

// hangUp closes the connection, as the pusher does when it is idle.
func (p *peer) hangUp() { p.f.of("door").rest() }

// connect pushes fragments until the receiver takes one, and returns the hashes of its
// pictures.
func (p *peer) connect(t *testing.T, c *camera) []string {
	t.Helper()
	var hashes []string
	var note Note
	if !testenv.Poll(t, testenv.Patience, func() bool {
		var in *processors.Fragment
		in, hashes = c.fragment()
		note = push(t, p.f, in)
		return note.Sent > 0
	}) {
		t.Fatalf("nothing is sent: %+v", note)
	}
	return hashes[:note.Sent]
}

// compare compares hashes; what says of what.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: %d differs of %d, want %d", what, i, len(got), len(want))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d, want %d", what, len(got), len(want))
	}
}

// Servers of others decode the very pictures of the camera, and have its frames of sound.
func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		r     receiver
		udp   bool
		audio bool
		video []string
	}{
		{"GStreamer, H.264 and AAC", &gstServer{video: "h264", audio: "aac"}, false, true, testmedia.H264Plain},
		{"GStreamer, H.264 and AAC over UDP", &gstServer{video: "h264", audio: "aac"}, true, true, testmedia.H264Plain},
		{"GStreamer, H.265 with B-frames", &gstServer{video: "h265"}, false, false, testmedia.H265BFrames},
		{"FFmpeg over RTSP, H.264 with B-frames and AAC", &ffmpegServer{scheme: "rtsp"}, false, true, testmedia.H264BFrames},
		{"FFmpeg over RTMP, H.264 with B-frames and AAC", &ffmpegServer{scheme: "rtmp"}, false, true, testmedia.H264BFrames},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Settings{}
			if tt.udp {
				s.Transport = "udp"
			}
			p := newPeer(t, tt.r, s)
			c := newCamera(t, tt.audio, tt.video...)
			p.start(t, p.port)
			var want []string
			for range clipSeconds {
				in, hashes := c.fragment()
				if n := push(t, p.f, in); n != (Note{Sent: 25}) {
					t.Fatalf("note: %+v", n)
				}
				want = append(want, hashes...)
			}
			if g, ok := tt.r.(*gstServer); ok && tt.udp {
				g.settle(t) // packets may be on their way
			}
			p.hangUp()
			pictures, heard := p.received(t)
			compare(t, "pictures", pictures, want)
			if tt.audio {
				compare(t, "frames of sound", heard, c.sounds)
			}
		})
	}
}

// JPEG images come out as the same pictures, although RTP leaves out what their headers say.
func TestMJPEG(t *testing.T) {
	c := newCamera(t, false, testmedia.H264Plain...)
	begin := []byte{0xff, 0xd8}
	images := testmedia.FFmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25", "-t", fmt.Sprint(clipSeconds),
		"-c:v", "mjpeg", "-huffman", "default", "-q:v", "8", "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-")
	for i, image := range bytes.Split(images, begin)[1:] {
		c.clip.Samples[schemas.VideoTrack][i].Data = slices.Concat(begin, image)
	}
	c.clip.Tracks[0] = schemas.Track{ID: schemas.VideoTrack, Codec: schemas.MJPEG, Timescale: schemas.MediaTimescale, Width: 160, Height: 96}
	file := filepath.Join(t.TempDir(), "sent")
	if err := os.WriteFile(file, images, 0o644); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, &gstServer{video: "mjpeg"}, Settings{})
	p.start(t, p.port)
	for range clipSeconds {
		in, _ := c.fragment()
		want(t, "note", push(t, p.f, in), Note{Sent: 25})
	}
	p.hangUp()
	pictures, _ := p.received(t)
	compare(t, "pictures", pictures, decoded(t, "mjpeg", file))

	other := push(t, rtmpServer(t, func(net.Conn) {}), processorstest.Fragments(t, "mjpeg")[0])
	want(t, "note of RTMP", other, Note{Dropped: 5, Reason: "rtmp:// carries no pictures of this camera's codec"})
	in := processorstest.Fragments(t, "mjpeg")[0]
	in.Camera = "other"
	if n := push(t, p.f, in); !strings.Contains(n.Reason, "pictures of 160x90: RTP takes sizes up to 2040 that are multiples of 8") {
		t.Errorf("note of a size that RTP does not know: %+v", n)
	}
}

// A server that was killed and is back gets whole fragments from a keyframe on.
func TestServerIsKilled(t *testing.T) {
	for _, r := range []receiver{&gstServer{video: "h264"}, &ffmpegServer{scheme: "rtmp"}} {
		t.Run(fmt.Sprintf("%T", r), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, r, Settings{})
			c := newCamera(t, false, testmedia.H264Plain...)
			p.start(t, p.port)
			p.connect(t, c)
			p.process().KillTree()
			testenv.Poll(t, testenv.Patience, func() bool {
				in, _ := c.fragment()
				return push(t, p.f, in).Dropped == 25
			})
			p.start(t, p.port)
			want := p.connect(t, c)
			for range 2 {
				in, hashes := c.fragment()
				if n := push(t, p.f, in); n != (Note{Sent: 25}) {
					t.Fatalf("note: %+v", n)
				}
				want = append(want, hashes...)
			}
			p.hangUp()
			pictures, _ := p.received(t)
			compare(t, "pictures", pictures, want)
		})
	}
}

// A server that stands still for longer than max_delay gets what its notes say was sent:
// a part of a fragment, and then whole ones from a keyframe on.
func TestServerStandsStill(t *testing.T) {
	large := slices.Concat(testmedia.H264Plain, []string{"-qp", "0"})
	for _, r := range []receiver{&gstServer{video: "h264"}, &ffmpegServer{scheme: "rtmp"}} {
		t.Run(fmt.Sprintf("%T", r), func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, r, Settings{MaxDelay: 500 * time.Millisecond})
			c := newCamera(t, false, large...)
			p.start(t, p.port)
			want := p.connect(t, c)
			p.process().Signal(syscall.SIGSTOP)
			resume := time.AfterFunc(2*time.Second, func() { p.process().Signal(syscall.SIGCONT) })
			defer resume.Stop()
			dropped := Note{}
			testenv.Poll(t, testenv.Patience, func() bool {
				in, hashes := c.fragment()
				dropped = push(t, p.f, in)
				want = append(want, hashes[:dropped.Sent]...)
				return dropped.Dropped > 0
			})
			if dropped.Reason != errLate.Error() {
				t.Fatalf("note: %+v", dropped)
			}
			for whole := 0; whole < 2; {
				in, hashes := c.fragment()
				n := push(t, p.f, in)
				if n.Sent == 25 {
					whole++
				}
				want = append(want, hashes[:n.Sent]...)
			}
			p.hangUp()
			pictures, _ := p.received(t)
			compare(t, "pictures", pictures, want)
		})
	}
}

// A password goes to the server, and into no note.
func TestPassword(t *testing.T) {
	const secret = "pa:ss/w0rd"
	t.Setenv("FRAMELOG_SECRET_PEER", secret)
	p := newPeer(t, &gstServer{video: "h264", user: "pusher"}, Settings{})
	c := newCamera(t, false, testmedia.H264Plain...)
	p.start(t, p.port)
	p.connect(t, c)
	p.hangUp()
	t.Setenv("FRAMELOG_SECRET_PEER", secret+"x")
	in, _ := c.fragment()
	if n := push(t, p.f, in); n.Dropped != 25 || !strings.Contains(n.Reason, "401") || strings.Contains(n.Reason, secret) {
		t.Errorf("note with a wrong password: %+v", n)
	}
}
