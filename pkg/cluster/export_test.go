package cluster

// Limit is the number of pages that may be in flight at the moment.
func (l *Lister) Limit() int {
	l.limiter.mu.Lock()
	defer l.limiter.mu.Unlock()
	return l.limiter.limit
}

// Busy is the number of slots that are given out.
func (l *Lister) Busy() int {
	l.limiter.mu.Lock()
	defer l.limiter.mu.Unlock()
	return l.limiter.busy
}
