package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// maxBody bounds the body of a PUT: a URL, a label and some flags.
const maxBody = 16 << 10

// putBody is the body of a PUT: the whole camera, as far as a caller may set
// it.
type putBody struct {
	URL         string `json:"url"`
	Substream   string `json:"substream"`
	Label       string `json:"label"`
	Transport   string `json:"transport"`
	InsecureTLS bool   `json:"insecure_tls"`
	NoAudio     bool   `json:"no_audio"`
	Disabled    bool   `json:"disabled"`
	Engine      string `json:"engine"`
	ChunkMS     uint16 `json:"chunk_ms"`
}

// writeLimit bounds one write to the registry. The page waits 15 s for an answer.
const writeLimit = 10 * time.Second

// put adds a camera or changes one. If-None-Match: * makes it add only (RFC 9110
// section 13.1.2). A caller can send back the result of GET: *** before the @ of a
// URL keeps user and password, if host and port are the same and TLS is not
// weaker. After it has begun to write, put goes on also if the client leaves,
// since otherwise a record could be without its password.
func (a *API) put(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("camera")
	if _, _, ok := a.writable(w, id); !ok {
		return
	}
	body, err := decodeBody(w, r)
	if err != nil {
		answer.Fail(w, http.StatusBadRequest, "the body is not a camera: "+err.Error(), `send JSON such as {"url":"rtsp://10.0.0.5:554/stream1","label":"Front door"}`)
		return
	}
	if err := body.check(); err != nil {
		answer.Fail(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	if !a.begin(r.Context()) {
		return
	}
	defer a.end()
	a.catchUp(r.Context())
	if r.Context().Err() != nil {
		return // the client has left, and the snapshot may be old
	}
	old, exists, ok := a.writable(w, id) // the current record
	if !ok {
		return
	}
	if exists && r.Header.Get("If-None-Match") == "*" {
		answer.Fail(w, http.StatusPreconditionFailed, fmt.Sprintf("there is a camera %q already", id), "take another id, or leave If-None-Match out to change it")
		return
	}
	cam := schemas.Camera{
		ID: id, Label: strings.TrimSpace(body.Label), URL: strings.TrimSpace(body.URL), Substream: strings.TrimSpace(body.Substream), Transport: body.Transport,
		InsecureTLS: body.InsecureTLS, NoAudio: body.NoAudio, Disabled: body.Disabled,
		Source: schemas.SourceAPI, Updated: time.Now().UTC().Truncate(time.Microsecond),
		Engine: body.Engine, ChunkMS: body.ChunkMS,
	}
	undo, ok := a.takeURL(w, &cam, old)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeLimit)
	defer cancel()
	if err := a.deps.Registry.Put(ctx, cam); err != nil {
		if !errors.Is(err, registry.ErrUncertain) { // else both may be needed: this password, and the one before
			a.undo(id, undo)
		}
		a.unwritten(w, err)
		return
	}
	a.await(r.Context(), func() bool {
		c, ok := a.snap.Cameras[id]
		return ok && !c.Updated.Before(cam.Updated)
	})
	a.forget(id, &cam)
	code := http.StatusOK
	if !exists {
		code = http.StatusCreated
	}
	answer.JSON(w, code, Camera{Camera: secrets.Public(cam), Playlist: "/hls/" + id + "/index.m3u8"})
}

// takeURL splits the URLs of cam, and stores passwords in them with the secrets.
// undo removes these again. A password that is
// stored already is only for the host and port that it was given for, and for no
// less TLS, so that no caller can send it to their own host. old is the current
// camera. An answer never repeats a URL, since it may hold the password.
func (a *API) takeURL(w http.ResponseWriter, cam *schemas.Camera, old schemas.Camera) (undo func() error, ok bool) {
	if schemas.IsReplay(cam.URL) && cam.URL != old.URL {
		// Who may change a camera need not be allowed to watch the one that it would repeat.
		answer.Fail(w, http.StatusBadRequest, "a replay cannot be made or changed here", "run: framelog replay CAMERA --from TIME --to TIME --to-camera "+cam.ID)
		return nil, false
	}
	typed, err := secrets.Split(cam, old)
	if err == nil {
		err = secrets.Check(*cam)
	}
	if err != nil {
		answer.Fail(w, http.StatusBadRequest, err.Error(), "want rtsp://host[:port]/path or rtsps://…, with no reference but ${file:"+cam.ID+"}")
		return nil, false
	}
	if len(typed) > 0 && a.cfg.SecretsDir == "" {
		answer.Fail(w, http.StatusBadRequest, "the url holds a password, and this server has no place to keep one",
			"write the password to the file "+cam.ID+" in the secrets_dir of every ingest host, below a line \"for HOST:PORT\" with the camera's host and port, and put ${file:"+cam.ID+"} in its place in the url")
		return nil, false
	}
	if undo, ok = a.store(w, cam.ID, typed); !ok {
		return nil, false
	}
	had := old.Streams()
	for i, s := range cam.Streams() {
		same := i < len(had) && s.URL == had[i].URL && s.User == had[i].User && s.Password == had[i].Password && s.InsecureTLS == had[i].InsecureTLS
		if a.cfg.SecretsDir == "" || same {
			continue
		}
		if _, err := (secrets.Resolver{Dir: a.cfg.SecretsDir}).Resolve(context.Background(), s); err != nil {
			a.undo(cam.ID, undo)
			answer.Fail(w, http.StatusBadRequest, err.Error(), "write user and password into the url: rtsp://user:password@host/path")
			return nil, false
		}
	}
	return undo, true
}

// store keeps the passwords of a camera. undo removes them again. If one cannot be kept,
// store has answered the request.
func (a *API) store(w http.ResponseWriter, id string, typed []secrets.Typed) (undo func() error, ok bool) {
	var undone []func() error
	undo = func() (err error) {
		for _, u := range slices.Backward(undone) {
			err = errors.Join(err, u())
		}
		return err
	}
	for _, t := range typed {
		u, err := secrets.Store(a.cfg.SecretsDir, t.For, t.Password)
		if err == nil {
			undone = append(undone, u)
			continue
		}
		a.undo(id, undo)
		if errors.Is(err, secrets.ErrHandMade) {
			answer.Fail(w, http.StatusConflict, "there is a file "+id+" in the secrets_dir that Framelog did not write, and it is not replaced",
				"take another id, or remove that file")
			return nil, false
		}
		a.deps.Log.Error("cannot store a camera's password", "camera", id, "err", err)
		answer.Fail(w, http.StatusInternalServerError, "the password could not be kept", "see the server's log; is the disk full?")
		return nil, false
	}
	return undo, true
}

// undo restores the passwords that a camera had before a failed change.
func (a *API) undo(id string, undo func() error) {
	if err := undo(); err != nil {
		a.deps.Log.Error("cannot restore a camera's password", "camera", id, "err", err)
	}
}

// remove removes a camera from the registry, and its password from the disk.
// Its footage stays in the log until it expires.
func (a *API) remove(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("camera")
	if !a.begin(r.Context()) {
		return
	}
	defer a.end()
	a.catchUp(r.Context())
	if r.Context().Err() != nil {
		return // the client has left, and the snapshot may be old
	}
	_, exists, ok := a.writable(w, id)
	if !ok {
		return
	}
	if !exists {
		answer.NoCamera(w, id)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeLimit)
	defer cancel()
	if err := a.deps.Registry.Delete(ctx, id); err != nil {
		a.unwritten(w, err)
		return
	}
	a.await(r.Context(), func() bool {
		_, there := a.snap.Cameras[id]
		return !there
	})
	a.forget(id, nil)
	w.WriteHeader(http.StatusNoContent)
}

// forget removes the passwords of a camera that no camera uses any more. now is
// the camera as it has been written, nil if it was removed.
func (a *API) forget(id string, now *schemas.Camera) {
	if a.cfg.SecretsDir == "" {
		return
	}
	a.mu.Lock()
	cameras := maps.Clone(a.snap.Cameras)
	a.mu.Unlock()
	delete(cameras, id) // the snapshot may be old
	if now != nil {
		cameras[id] = *now
	}
	if _, err := secrets.Forget(a.cfg.SecretsDir, id, cameras); err != nil {
		a.deps.Log.Warn("cannot remove the password of a camera", "camera", id, "err", err)
	}
}

// begin waits until no other camera is being changed. It returns false if the
// caller has gone; otherwise call end.
func (a *API) begin(ctx context.Context) bool {
	select {
	case a.writing <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *API) end() { <-a.writing }

// writable reports whether the API may change camera id. If it may not, it has
// answered the request.
func (a *API) writable(w http.ResponseWriter, id string) (c schemas.Camera, exists, ok bool) {
	if err := schemas.ValidateCameraID(id); err != nil {
		answer.Fail(w, http.StatusBadRequest, err.Error(), "take an id such as front-door; the label is free text")
		return c, false, false
	}
	a.mu.Lock()
	ready := a.ready
	c, exists = a.snap.Cameras[id]
	a.mu.Unlock()
	if !ready {
		notReady(w)
		return c, false, false
	}
	if exists && c.Source == schemas.SourceFile {
		answer.Fail(w, http.StatusConflict, fmt.Sprintf("camera %q is kept by %s", id, registry.Keeper(c)), "change it there")
		return c, true, false
	}
	return c, exists, true
}

// await waits until seen, which is called under the lock, returns true, so that
// a caller can read what it wrote. The wait is short, since the write is done
// in any case.
func (a *API) await(ctx context.Context, seen func() bool) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Visible)
	defer cancel()
	for {
		a.mu.Lock()
		done, changed := seen(), a.changed
		a.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (a *API) unwritten(w http.ResponseWriter, err error) {
	a.deps.Log.Warn("cannot write the registry", "err", err)
	if _, ok := errors.AsType[*kafka.RightError](err); ok {
		answer.Fail(w, http.StatusForbidden, "this egress may not change cameras: its user lacks a right in Kafka", "grant the user what framelog acls --role editor prints")
		return
	}
	w.Header().Set("Retry-After", "5")
	if errors.Is(err, registry.ErrUncertain) {
		answer.Fail(w, http.StatusServiceUnavailable, "the brokers have not said whether the change is written", "look at the list in a while; if it goes on, look at the brokers")
		return
	}
	answer.Fail(w, http.StatusServiceUnavailable, "the registry could not be written", "try again; if it goes on, look at the brokers")
}

func decodeBody(w http.ResponseWriter, r *http.Request) (b putBody, err error) {
	// A page of another site can send a form without asking, never this type.
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return b, errors.New("Content-Type must be application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, plainJSONError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return b, errors.New("there is more than one JSON value")
	}
	return b, nil
}

// plainJSONError describes err with the name of the field, and never repeats a
// value.
func plainJSONError(err error) error {
	var wrong *json.UnmarshalTypeError
	var large *http.MaxBytesError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		if wrong.Field == "" {
			return errors.New("it is no JSON object")
		}
		return fmt.Errorf("%s: want %s, not %s", wrong.Field, wrong.Type, kindOf(wrong.Value))
	case errors.As(err, &large):
		return fmt.Errorf("it is larger than %d bytes", maxBody)
	case errors.As(err, &syntax):
		return fmt.Errorf("it is no JSON (at byte %d)", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	}
	// The remaining error is "json: unknown field", which only names the key.
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// kindOf returns the first word of encoding/json's description of a value: the
// description may contain the value itself.
func kindOf(v string) string {
	kind, _, _ := strings.Cut(v, " ")
	return kind
}

func (b *putBody) check() error {
	if strings.TrimSpace(b.URL) == "" {
		return errors.New("url is missing")
	}
	switch b.Transport {
	case "", "tcp", "udp":
	default:
		return errors.New(`transport: want "tcp", "udp" or nothing (TCP first, then UDP)`)
	}
	switch b.Engine {
	case "", "gstreamer", "native":
	default:
		return errors.New(`engine: want "gstreamer", "native" or nothing (as ingest is configured)`)
	}
	if b.ChunkMS > schemas.MaxChunkMS {
		return fmt.Errorf("chunk_ms: %d, at most %d", b.ChunkMS, schemas.MaxChunkMS)
	}
	if n := len([]rune(b.Label)); n > 100 {
		return fmt.Errorf("label: %d characters, at most 100", n)
	}
	for _, r := range b.Label {
		if r < ' ' || r == 0x7f {
			return errors.New("label: control characters are not allowed")
		}
	}
	return nil
}
