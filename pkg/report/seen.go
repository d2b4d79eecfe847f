package report

import "hash/maphash"

// seen is a set of very many texts of which it keeps 16 bytes each: enough to
// tell them apart, since the hashes are of this process and nobody can choose
// texts for them.
type seen struct {
	seeds  [2]maphash.Seed
	hashes map[[2]uint64]struct{}
}

func newSeen() *seen {
	return &seen{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, hashes: map[[2]uint64]struct{}{}}
}

// add reports whether the text is new.
func (s *seen) add(text string) bool {
	hash := [2]uint64{maphash.String(s.seeds[0], text), maphash.String(s.seeds[1], text)}
	before := len(s.hashes)
	s.hashes[hash] = struct{}{}
	return len(s.hashes) > before
}
