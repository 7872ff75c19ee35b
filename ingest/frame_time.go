package ingest

import "time"

// FrameTime sets AssemblerConfig.FrameTime for the sessions that begin from now
// on: what the SDP says is known only once there is a connection.
func (a *Assembler) FrameTime(d time.Duration) { a.cfg.FrameTime = d }
