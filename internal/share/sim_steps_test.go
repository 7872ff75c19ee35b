package share

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// step has one thing happen to a partition.
func (s *sim) step() {
	s.pause(8 * time.Second)
	id := s.r.IntN(simPartitions)
	from, to := s.owner[id], s.processes[s.r.IntN(len(s.processes))]
	what := s.r.IntN(14)
	if from == to && (what <= 1 || what == 3) {
		what = 2
	}
	s.did = append(s.did, fmt.Sprintf("%v: %d of p%d, %s to %s", time.Now().Format("04:05.000"), what, id, from.name, to.name))
	switch what {
	case 0, 1: // a rebalance
		from.revoked(id)
		s.pause(time.Second)
		from.assigned()
		s.give(id, to)
	case 2: // a broker's restart
		from.lost(id)
		s.pause(8 * time.Second)
		if s.r.IntN(4) == 0 {
			from.revoked(id)
			s.pause(4 * time.Second)
		}
		s.give(id, from)
	case 3: // the group gives it up, which it hears late or after all has passed
		if s.r.IntN(2) == 0 {
			from.lost(id)
		}
		s.pause(8 * time.Second)
		s.give(id, to)
		s.pause(40 * time.Second)
		from.lost(id)
		s.pause(4 * time.Second)
		from.assigned()
	case 4: // revoked, and given back
		from.revoked(id)
		s.pause(35 * time.Second)
		s.give(id, from)
	case 5: // somebody changes the cameras
		s.set(id, s.changed(id))
	case 6: // a camera is removed, and comes back
		all := s.cams[id]
		some := maps.Clone(all)
		for cam := range some {
			delete(some, cam)
			break
		}
		s.set(id, some)
		s.pause(3 * time.Second)
		if s.r.IntN(2) == 0 {
			from.lost(id)
			s.pause(3 * time.Second)
			s.setCams(id, all)
			s.give(id, from)
			return
		}
		if s.r.IntN(2) == 0 {
			s.news(id) // of another camera
		}
		if s.r.IntN(2) == 0 {
			all = s.changed(id, all)
		}
		s.set(id, all)
	case 7: // removed while it moves
		all := s.cams[id]
		s.set(id, nil)
		s.pause(time.Second)
		from.revoked(id)
		s.pause(time.Second)
		s.setCams(id, all)
		s.give(id, to)
	case 8: // news of something else
		s.news(id)
	case 9:
		s.purge(id)
	case 10: // somebody who is no owner opens the log, and is gone
		for cam := range s.cams[id] {
			s.logs.open(&fakeWriter{camera: cam, process: "nobody", over: true}, "", 0)
		}
		s.pause(6 * time.Minute)
	case 11: // a process ends or dies, and comes back
		s.replace(from)
	case 12, 13: // much of it at a time
		s.burst(id, from)
	}
}

// burst has much happen to a partition of one process, before its runs can end.
func (s *sim) burst(id int, p *simProcess) {
	all := s.cams[id]
	const ours, unconfirmed, gone = 0, 1, 2
	is := ours
	for range 4 + s.r.IntN(10) {
		after(time.Duration(s.r.Int64N(int64(700 * time.Millisecond))))
		what := s.r.IntN(8)
		s.did = append(s.did, fmt.Sprintf("  %v: %d, is %d", time.Now().Format("04:05.000"), what, is))
		switch {
		case what == 0:
			s.purge(id)
		case is == ours && what == 1:
			p.lost(id)
			is = unconfirmed
		case is == ours && what == 2:
			p.revoked(id)
			is = gone
		case is == ours && what == 3:
			s.set(id, nil)
		case is == ours && what == 4:
			s.set(id, all)
		case is == ours && what == 5:
			s.news(id)
		case is == ours:
			all = s.changed(id, all)
			s.set(id, all)
		case is == unconfirmed && what < 4:
			p.assigned() // without it
			is = gone
		case is == unconfirmed && what < 7:
			p.assigned(int32(id))
			is = ours
		case is == gone && what < 4:
			p.assigned(int32(id))
			is = ours
		}
	}
	if s.r.IntN(3) == 0 {
		s.replace(p)
		p = s.owner[id]
		is = ours
	}
	s.setCams(id, all)
	if is == ours {
		s.news(id)
	} else {
		s.give(id, p)
	}
}

// purge deletes the logs of a partition's cameras.
func (s *sim) purge(id int) {
	for cam := range s.cams[id] {
		if w := s.logs.newest(cam); w != nil {
			select {
			case <-w.deleted:
			default:
				close(w.deleted)
			}
		}
	}
}

func (s *sim) setCams(id int, cams map[string]schemas.Camera) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cams[id] = cams
}

// changed is a partition's cameras with other URLs.
func (s *sim) changed(id int, cams ...map[string]schemas.Camera) map[string]schemas.Camera {
	cams = append(cams, s.cams[id])
	out := make(map[string]schemas.Camera)
	for cam, c := range cams[0] {
		c.URL += "x"
		out[cam] = c
	}
	return out
}

// replace ends a process, properly or not. Another one has its partitions at
// once or after a while.
func (s *sim) replace(p *simProcess) {
	// What it is doing meanwhile ends with it too.
	switch s.r.IntN(4) {
	case 0:
		p.lost(s.r.IntN(simPartitions))
	case 1:
		s.set(s.r.IntN(simPartitions), nil)
	}
	killed := s.r.IntN(2) == 0
	if killed {
		p.role.kill()
	}
	p.cameras.end()
	i := slices.Index(s.processes, p)
	s.processes[i] = s.start(p.name)
	if killed {
		s.pause(8 * time.Second) // the session
	}
	for id, o := range s.owner {
		if len(s.cams[id]) == 0 {
			s.setCams(id, cameraMap(testCamera(fmt.Sprintf("p%d-a", id)), testCamera(fmt.Sprintf("p%d-single", id))))
		}
		if o == p {
			s.give(id, s.processes[s.r.IntN(len(s.processes))])
		} else {
			s.news(id)
		}
	}
	p.end()
}
