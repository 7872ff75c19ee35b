package medialog

// Life returns the life of the source's footage.
func (f *Follower) Life() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.life
}
