package main

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/egress/clip"
	"github.com/framelog/framelog/egress/events"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/egress/snapshot"
	"github.com/framelog/framelog/egress/timeline"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
)

func egressRole() role {
	return role{
		name: "egress", help: "Run egress alone: the page, the API and HLS.", command: new(egressCmd),
		section: config.Section{Key: "egress", Into: new(egressConfig)},

		processes: func(u *up) []child {
			return []child{{name: "egress", secrets: secretNames(u.cfg.Access.OIDC.ClientSecret)}}
		},
		routes:  []string{"/"},
		sockets: []string{"GET /live", "GET " + people.LinkPath + "{link}/live"},
		answers: true,
	}
}

// egressConfig is the settings of egress.
type egressConfig struct {
	Mode              string          `yaml:"mode" default:"on_demand" oneof:"on_demand,always" doc:"on_demand follows a camera while somebody watches it; always keeps every camera's HLS files on disk, for a web server to serve."`
	Window            config.Duration `yaml:"window" default:"60s" min:"6s" max:"1h" doc:"Footage in a live playlist."`
	MaxRange          config.Duration `yaml:"max_range" default:"24h" min:"1m" doc:"Longest range of time that a playlist or a clip may have."`
	MaxDVR            config.Duration `yaml:"max_dvr" default:"6h" min:"1m" doc:"Most footage that a live playlist lists if a request asks for it with ?dvr=2h. While it is asked for, each followed camera takes about 0.5KB of memory for a fragment."`
	Linger            config.Duration `yaml:"linger" default:"30s" min:"1s" doc:"How long a camera is followed after its last request, in mode on_demand."`
	HLSDir            string          `yaml:"hls_dir" default:"" doc:"Directory of the files of mode always, for one egress process only: it removes all files that it finds there. Empty: hls below data."`
	CacheBytes        config.Size     `yaml:"cache_bytes" default:"256MiB" min:"1MiB" doc:"Memory for segments."`
	LiveBytes         config.Size     `yaml:"live_bytes" default:"4MiB" min:"1MiB" doc:"Most bytes of cache_bytes that the newest complete segments of one followed camera take. The newest segment is always in memory. Segments that are files are not in memory."`
	RangeCache        config.Size     `yaml:"range_cache" default:"32MiB" min:"1MiB" doc:"Memory for playlists of ranges of time that get no more footage. One of 24 hours takes up to 3MiB."`
	MaxTails          int             `yaml:"max_tails" default:"256" min:"1" doc:"Most cameras and renditions that are followed at the same time."`
	MaxWaiters        int             `yaml:"max_waiters" default:"4096" min:"1" doc:"Most requests that wait for new footage, plus reads of the log that are under way or wait for a place."`
	MaxLookups        int             `yaml:"max_lookups" default:"8" min:"1" doc:"Most reads of indexes at the same time, for segments, parts and inits that are unknown or of cameras that are not followed."`
	MaxMisses         int             `yaml:"max_misses" default:"4096" min:"1" doc:"Most answers of indexes that are kept for some seconds, so that repeated requests for footage that does not exist cause no further reads."`
	MaxRebuilds       int             `yaml:"max_rebuilds" default:"4" min:"1" doc:"Most segments that are made from the log at the same time."`
	MaxClips          int             `yaml:"max_clips" default:"4" min:"1" doc:"Most clips whose tables are made at the same time, each in about 8MiB of memory an hour of footage. Others get 503. As many more requests may look for the fragments of their range; others wait 10s for that, and then get 503."`
	ClipTables        config.Size     `yaml:"clip_tables" default:"256MiB" min:"1MiB" doc:"Memory for the tables of clips that are sent, about 4MiB an hour of footage each, and of those that were asked for last. If those that are sent fill it, others get 503."`
	LiveConnections   int             `yaml:"live_connections" default:"1024" min:"1" doc:"Most WebSockets of /live at the same time. A page has one for all its cameras."`
	LiveSubscriptions int             `yaml:"live_subscriptions" default:"64" min:"1" doc:"Most cameras and renditions on one such connection."`
	LiveInFlight      config.Size     `yaml:"live_in_flight" default:"4MiB" min:"64KiB" doc:"Most bytes of footage that are sent on one such connection and that the client has not acknowledged. Who is slower gets the newest keyframe, and hears what was left out."`
	LiveLate          config.Duration `yaml:"live_late" default:"2s" min:"500ms" max:"1m" doc:"How long sent footage may be without an acknowledgement before no more is sent on the connection. Then it is as with live_in_flight. So a slow network delays the picture by little more, however small the picture is."`
	MaxSnapshots      int             `yaml:"max_snapshots" default:"8" min:"1" doc:"Most snapshots that are made at the same time, each of at most 32MiB of footage. Others wait up to 5s."`
	MaxTimelines      int             `yaml:"max_timelines" default:"8" min:"1" doc:"Most timelines that are read at the same time. Others wait up to 5s."`
	TimelineHours     int             `yaml:"timeline_hours" default:"8192" min:"24" doc:"How many hours of timelines, of all cameras and renditions together, are kept in memory, each in 2kB to 9kB."`
	Thumbnail         string          `yaml:"thumbnail" default:"" doc:"Address of a framelog process thumbnail (its --http), which decodes exact snapshots, such as http://10.0.0.7:9200. Empty: under framelog up its processor of the kind thumbnail, else none."`
	WriteTimeout      config.Duration `yaml:"write_timeout" default:"30s" min:"1s" doc:"A client that takes longer for 1MiB of a playlist or segment is cut off, so that it does not keep the segment in memory. So is the client of a WebSocket of /live that takes nothing for so long although footage waits for it; one that takes some is slow, and footage is left out."`
	DiskReserve       config.Size     `yaml:"disk_reserve" default:"3GiB" doc:"Free disk space below which mode always deletes its files, to make room for recording. The default is at least 1GiB more than ingest.disk_reserve."`
	MaxAge            config.Duration `yaml:"max_age" default:"1h" min:"1s" doc:"How long caches may keep segments: less than topics.retention. If that is an hour or less, the default is half of it."`
	Hosts             []string        `yaml:"hosts" default:"" doc:"If listen is the loopback: names or addresses that the Host of a request may have besides those of the loopback, such as those of a reverse proxy: cams.example, 10.0.0.5. A request with any other Host gets 421, since a page of another site could point its own name here."`
	Origins           []string        `yaml:"origins" default:"" doc:"Other sites whose pages may read cameras and footage here, such as https://portal.example or http://10.0.0.7:3000. Pages of any other site get 403. No other site can change anything."`
}

// Check is [config.Checker].
func (e *egressConfig) Check(c *config.Config) error {
	for i, h := range e.Hosts {
		if _, err := netip.ParseAddr(h); err != nil && strings.ContainsAny(h, ":/[] ") {
			return c.Errorf(c.Element("egress.hosts", i), "want the part of the page's URL between // and the port, as cams.example or 10.0.0.5", "%q is no host", h)
		}
		e.Hosts[i] = strings.ToLower(h)
	}
	for i, o := range e.Origins {
		origin, err := parseOrigin(o)
		if err != "" {
			return c.Errorf(c.Element("egress.origins", i), "want an origin as browsers write it, as https://portal.example or http://10.0.0.7:3000", "%q: %s", o, err)
		}
		e.Origins[i] = origin
	}
	if u, err := url.Parse(e.Thumbnail); e.Thumbnail != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/")+u.RawQuery != "" || u.User != nil) {
		return c.Errorf("egress.thumbnail", "want http:// or https:// with a host and a port, as http://10.0.0.7:9200", "%q is no address of a process", e.Thumbnail)
	}
	if e.HLSDir == "" {
		e.HLSDir = filepath.Join(c.Data, "hls")
	}
	return nil
}

// parseOrigin returns an origin as browsers write it (RFC 6454 section 6.2): in
// lower case, and without the scheme's default port. err says what is wrong; "" if
// nothing is.
func parseOrigin(s string) (origin, err string) {
	u, bad := url.Parse(strings.ToLower(s))
	switch {
	case bad != nil || u.Hostname() == "" || strings.Trim(u.Hostname(), "abcdefghijklmnopqrstuvwxyz0123456789.-_:") != "":
		return "", "no origin"
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "the scheme is neither http nor https"
	case u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", "there is more than scheme, host and port"
	case u.Port() == "" && strings.HasSuffix(u.Host, ":"):
		return "", "there is no port after the colon"
	}
	own := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return u.Scheme + "://" + strings.TrimSuffix(u.Host, own), ""
}

type egressCmd struct {
	roleFlags
	httpFlag
	Listen *string `help:"Address of the page, the API, HLS and metrics." placeholder:"HOST:PORT"`
}

// Run serves viewers.
func (c egressCmd) Run(ctx context.Context) error {
	p, err := c.start("egress", c.Listen, c.HTTP)
	if err != nil {
		return err
	}
	defer p.close()
	waiting, err := egress.Waiting(guard(p.cfg, p.cfg.Listen, p.policy), p.brokers.Why)
	if err != nil {
		return err
	}
	var handler atomic.Pointer[http.Handler]
	handler.Store(&waiting)
	if p.cfg.Access.Enabled {
		p.policy = asking(askHandler(func() http.Handler { return *handler.Load() }))
		if !p.flags.supervised() && p.cfg.TLS.Cert == "" && !config.Loopback(p.cfg.Listen) {
			p.log.Warn("passwords come over the network without TLS", "remedy", "put a proxy with TLS in front, which alone reaches this address, or set tls.cert and tls.key")
		}
	}
	viewers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) })
	work := []func(context.Context) error{
		p.withBrokers(func(ctx context.Context) error {
			return view(ctx, p, func(h http.Handler) { handler.Store(&h) })
		}),
		func(ctx context.Context) error { return p.serve(ctx, "listen", p.cfg.Listen, viewers) },
	}
	if p.flags.supervised() {
		work = append(work, func(ctx context.Context) error {
			ln, err := service.Listen(ctx, "unix:"+service.PassedSocket(p.flags.Socket))
			if err != nil {
				return err
			}
			return service.ServePassed(ctx, ln, viewers, p.log)
		})
	}
	if c.HTTP != "" {
		work = append(work, func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, nil) })
	}
	return service.All(ctx, work...)
}

// view runs egress until ctx ends. It calls serve with the handler for viewers.
func view(ctx context.Context, p *process, serve func(http.Handler)) error {
	cfg, own := p.cfg, config.Get[egressConfig](p.cfg)
	cams, err := registry.Connect(kafkaConfig(cfg, "framelog-egress"), p.log)
	if err != nil {
		return err
	}
	p.atEnd(cams.Close)
	mlog, err := medialog.Connect(logConfig(cfg, "framelog-egress"), p.log, p.reg)
	if err != nil {
		return err
	}
	p.atEnd(mlog.Close)
	all, err := withArchive(cfg, mlog.EndingAtDamage(), p.log, p.reg) // who watches goes on behind damage
	if err != nil {
		return err
	}

	var web *egress.Server // set before the first request
	h := hls.Config{
		Mode: own.Mode, Window: time.Duration(own.Window), MaxRange: time.Duration(own.MaxRange), MaxDVR: time.Duration(own.MaxDVR), Linger: time.Duration(own.Linger),
		Dir: own.HLSDir, Reserve: int64(own.DiskReserve), CacheBytes: int64(own.CacheBytes), LiveBytes: int64(own.LiveBytes), RangeCache: int64(own.RangeCache),
		MaxTails: own.MaxTails, MaxWaiters: own.MaxWaiters, MaxLookups: own.MaxLookups, MaxMisses: own.MaxMisses, MaxRebuilds: own.MaxRebuilds,
		WriteTimeout: time.Duration(own.WriteTimeout), MaxAge: time.Duration(own.MaxAge),
		Known:    func(camera string) bool { return web.Known(camera) },
		MayWatch: access.MayWatch,
	}
	stream, err := hls.New(h, all, p.log, p.reg)
	if err != nil {
		return err
	}
	if dir := closed(own.HLSDir); own.Mode == hls.Always && dir != "" {
		p.log.Warn("a web server that runs as another user cannot read the HLS files, and asks for each", "closed_to_others", dir, "remedy", "chmod o+x "+dir)
	}
	folk, known, err := p.signIn()
	if err != nil {
		return err
	}
	web, err = egress.New(egress.Config{
		API:       api.Config{SecretsDir: secretsDir(p)},
		Clips:     clip.Config{MaxClips: own.MaxClips, MaxTables: int64(own.ClipTables), MaxRange: time.Duration(own.MaxRange), WriteTimeout: time.Duration(own.WriteTimeout)},
		Snapshots: snapshot.Config{MaxReads: own.MaxSnapshots, MaxAge: time.Duration(own.MaxAge)},
		Timelines: timeline.Config{MaxReads: own.MaxTimelines, Keep: own.TimelineHours},
		Live: live.Config{
			MaxConnections: own.LiveConnections, MaxSubscriptions: own.LiveSubscriptions, MaxInFlight: int64(own.LiveInFlight), MaxLate: time.Duration(own.LiveLate),
			WriteTimeout: time.Duration(own.WriteTimeout),
		},
		Guard: guard(cfg, cfg.Listen, folk.Policy()),
	}, egress.Deps{
		Registry: cams, People: folk, HLS: stream, Live: stream, Decoder: decoder(p), Log: p.log, Registerer: p.reg,
		Footage: &egress.Footage{Log: all, Events: events.NewTopic(kafkaConfig(cfg, "framelog-egress"), p.log), Renditions: stream.Renditions, Archived: all.Roles},
		Delay: func(camera string) (time.Duration, bool) {
			d := stream.Delay(camera)
			return d, d > 0
		},
	})
	if err != nil {
		return err
	}
	work := []func(context.Context) error{stream.Run, web.Run}
	if known == nil {
		serve(web)
		p.started(web.Ready)
	} else {
		// Nobody is known before the users are read: whoever is signed in must not hear so.
		work = append(work, known.Run, func(ctx context.Context) error {
			if p.awaitUsers(ctx, known) == nil {
				serve(web)
				p.started(web.Ready)
			}
			<-ctx.Done()
			return nil
		})
	}
	return service.All(ctx, work...)
}

// decoder returns what makes exact snapshots, nil if nothing does.
func decoder(p *process) snapshot.Decoder {
	if address := config.Get[egressConfig](p.cfg).Thumbnail; address != "" {
		return &snapshot.Thumbnailer{Client: new(http.Client), URL: address}
	}
	i := slices.IndexFunc(p.cfg.Processors, func(e config.Processor) bool { return e.Kind == thumbnailKind })
	if i < 0 || !p.flags.supervised() {
		return nil
	}
	socket := filepath.Join(filepath.Dir(p.flags.Socket), processName(p.cfg.Processors[i].Name)+".sock")
	return &snapshot.Thumbnailer{Client: service.Client(socket), URL: "http://role"}
}

// closed returns a directory on the path to dir, or dir itself, that other
// users may not enter; "" if there is none.
func closed(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return ""
		case info.Mode().Perm()&0o001 == 0:
			return dir
		case dir == filepath.Dir(dir):
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// secretsDir returns the directory in which the API stores passwords. Unless up
// runs egress, it is empty and the API stores none: only under up ingest is on
// the same machine and can read them.
func secretsDir(p *process) string {
	if !p.flags.supervised() {
		return ""
	}
	return p.cfg.SecretsDir
}
