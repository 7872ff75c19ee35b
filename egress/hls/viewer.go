package hls

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
)

// View begins to follow a topic for one client, with the newest fragment. If after is not
// nil, the client has the footage up to that part already, and gets what follows if that is
// near. Errors: ErrNotFound, ErrBusy, ErrAway and ErrClosed of package parts, ctx's.
func (s *Server) View(ctx context.Context, t schemas.Topic, after *parts.Position) (parts.Viewer, error) {
	if s.cfg.Known != nil && !s.cfg.Known(t.Camera) {
		return nil, parts.ErrNotFound
	}
	if err := s.exists(ctx, t, false); err != nil {
		if f, ok := errors.AsType[*failure](err); ok && f.code == http.StatusNotFound {
			return nil, parts.ErrNotFound
		}
		return nil, errors.Join(parts.ErrAway, err)
	}
	st, err := s.stream(t)
	switch {
	case errors.Is(err, errBusy):
		return nil, parts.ErrBusy
	case err != nil:
		return nil, parts.ErrClosed
	}
	v := &viewer{server: s, stream: st}
	if after != nil {
		v.at.Position, v.at.resumes = *after, true
		v.at.Part++
	}
	return v, nil
}

// viewer is a client of package live.
type viewer struct {
	server *Server
	stream *stream
	at     cursor
	config string // of the fragment that Next has returned last
}

// Next implements parts.Viewer.
func (v *viewer) Next(ctx context.Context) (step parts.Step, changed <-chan struct{}, err error) {
	st := v.stream
	select {
	case <-st.done:
		return step, nil, parts.ErrClosed
	default:
	}
	st.mu.Lock()
	var stored *schemas.Entry
	var e schemas.Entry
	found := false
	if st.live {
		if step, stored, found, err = st.model.step(&v.at); stored != nil {
			e = *stored // the model moves its entries
		}
	}
	changed = st.changed
	st.mu.Unlock()
	switch {
	case err != nil:
		return step, nil, err
	case !found:
		return step, changed, nil
	case stored != nil:
		if step, err = v.read(ctx, e); err != nil {
			return step, nil, err
		}
	}
	if step.LeftOut == nil {
		v.config = step.Fragment.Config
	}
	return step, nil, nil
}

// read returns a part of a complete fragment. If that is gone, it is left out with the rest of its
// fragment. Any other error is ErrAway: the client asks again, and the part may come then.
func (v *viewer) read(ctx context.Context, e schemas.Entry) (parts.Step, error) {
	at := v.at.Position
	data, err := v.server.storedPart(ctx, v.stream.topic, e, at.Part)
	switch {
	case ctx.Err() != nil:
		return parts.Step{}, ctx.Err()
	case isGone(err):
		return v.at.leave(parts.Lost, e.Seq+1), nil
	case err != nil:
		if explain(err).logged {
			v.server.slog.Error("a part cannot be read", "topic", v.stream.topic, "seq", e.Seq, "part", at.Part, "error", err)
		}
		return parts.Step{}, errors.Join(parts.ErrAway, err)
	}
	v.at.took(e.Epoch)
	return parts.Step{Fragment: entryFacts(&e), Part: at.Part, Data: data}, nil
}

// isGone reports whether an error says that footage is not there, and will not come back.
func isGone(err error) bool {
	if err == nil {
		return false
	}
	code := explain(err).code
	return code == http.StatusGone || code == http.StatusNotFound
}

// storedPart returns one part of a complete fragment: from memory, from its file, or from
// the log.
func (s *Server) storedPart(ctx context.Context, t schemas.Topic, e schemas.Entry, part uint32) ([]byte, error) {
	seg := s.cache.get(cacheKey{topic: t, seq: e.Seq})
	if seg == nil {
		if data := s.filePart(resource{kind: kindSegment, topic: t, seq: e.Seq}, part); data != nil {
			return data, nil
		}
		var err error
		if seg, err = s.loader.segment(ctx, t, e.Seq, known{entry: &e}); err != nil {
			return nil, err
		}
	}
	if int(part) >= len(seg.parts) {
		return nil, fail(http.StatusNotFound, "not_found", "there is no such part")
	}
	return seg.parts[part], nil
}

// filePart reads one part from the file of a segment. It returns nil if that fails.
func (s *Server) filePart(res resource, part uint32) []byte {
	f := s.files.open(res)
	if f == nil {
		return nil
	}
	defer f.Close()
	section := f.section(int(part))
	if section == nil {
		return nil
	}
	data := make([]byte, section.Size())
	if _, err := io.ReadFull(section, data); err != nil {
		return nil
	}
	return data
}

// Init implements parts.Viewer.
func (v *viewer) Init(ctx context.Context) (parts.Init, error) {
	init, err := v.server.loader.init(ctx, v.stream.topic, v.config, v.stream.tracks(v.config))
	if err != nil {
		return parts.Init{}, errors.Join(parts.ErrAway, err)
	}
	codecs := Codecs(init.tracks)
	if codecs == "" {
		return parts.Init{}, parts.ErrUnplayable
	}
	return parts.Init{Codecs: codecs, Data: init.parts[0]}, nil
}

// Close implements parts.Viewer.
func (v *viewer) Close() { v.stream.leave() }
