package cluster

import (
	"bytes"
	"errors"
)

// errUnordered says that a list can't be resumed.
var errUnordered = errors.New("the list broke off and isn't in order, so nothing tells what was passed on already")

// place is how far a list got. It has the same size for every list.
//
// API servers list objects in the order of their keys, namespace and name. So
// the key that was passed on last tells what to skip when the list is read again,
// even from a newer snapshot. Of a list in another order, which an aggregated
// API server may have, a page can only be repeated as it was.
type place struct {
	seen  int    // objects passed on in all
	last  []byte // key of the object passed on last
	taken int    // objects of the page up to the one passed on last
	index int    // objects of the page that were read in this attempt

	key, previous []byte // of the current object, and of the one skipped before
	resuming      bool   // what was passed on may come again
	verbatim      bool   // it comes again as it was
	unordered     bool   // keys were not in order
}

// begin is called before the first object of a response.
func (p *place) begin() { p.index, p.previous = 0, p.previous[:0] }

// turn goes to the next page.
func (p *place) turn() {
	p.taken = 0
	p.resuming = p.resuming && !p.verbatim
}

// repeat goes back to the beginning of the current page.
func (p *place) repeat() {
	if !p.resuming {
		p.resuming, p.verbatim = p.taken > 0, true
	}
}

// renew goes on in a newer snapshot: at the beginning of the current page, or
// from the very beginning.
func (p *place) renew(samePage bool) error {
	if p.unordered && (p.taken > 0 || !samePage && p.seen > 0) {
		return errUnordered
	}
	p.resuming, p.verbatim, p.taken = p.seen > 0 && !p.unordered, false, 0
	return nil
}

// skips reports whether the object was passed on before. moved says that it
// wasn't, and that the page isn't what it was when it was read first.
func (p *place) skips(o Object) (skip, moved bool, err error) {
	p.key = append(append(append(p.key[:0], o.Namespace...), '/'), o.Name...)
	p.index++
	if !p.resuming {
		p.unordered = p.unordered || p.seen > 0 && bytes.Compare(p.key, p.last) <= 0
		return false, false, nil
	}
	p.unordered = p.unordered || len(p.previous) > 0 && bytes.Compare(p.key, p.previous) <= 0
	p.previous = append(p.previous[:0], p.key...)
	if p.unordered {
		return p.skipsAgain()
	}
	if bytes.Compare(p.key, p.last) <= 0 {
		return true, false, nil
	}
	p.resuming = false
	return false, p.verbatim && p.index != p.taken+1, nil
}

// skipsAgain is skips for a list without order: its page must be what it was.
func (p *place) skipsAgain() (skip, moved bool, err error) {
	if !p.verbatim || p.index == p.taken && !bytes.Equal(p.key, p.last) {
		return false, false, errUnordered
	}
	p.resuming = p.index <= p.taken
	return p.resuming, false, nil
}

// passed says that the current object was passed on.
func (p *place) passed() {
	p.seen++
	p.taken = p.index
	p.last, p.key = p.key, p.last
}
