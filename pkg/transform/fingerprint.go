package transform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Fingerprint is a hash of what Encode returns without managedFields, status and
// the two labels of a restore. It is the same for objects that say the same,
// however their fields are ordered and their numbers and texts are written, and
// differs for all others. A creationTimestamp that is null, which only older API
// servers write into templates, counts as none. Fingerprints can be compared
// within a process only: nobody can make up an object for one.
func (o *Object) Fingerprint() ([16]byte, error) {
	var sum hash
	sum.add("apiVersion", hashText([]byte(o.apiVersion)))
	sum.add("kind", hashText([]byte(o.kind)))
	sum.add("name", hashText([]byte(o.name)))
	sum.add("namespace", hashText([]byte(o.namespace)))
	sum.add("labels", hashTexts(o.labels, velerov1.BackupNameLabel, velerov1.RestoreNameLabel))
	sum.add("annotations", hashTexts(o.annotations))
	meta, err := hashFields(o.meta, "managedFields")
	if err != nil {
		return [16]byte{}, fmt.Errorf("compare metadata: %w", err)
	}
	top, err := hashFields(o.top, "status")
	if err != nil {
		return [16]byte{}, fmt.Errorf("compare: %w", err)
	}
	sum.add("meta", meta)
	sum.add("top", top)
	var out [16]byte
	binary.LittleEndian.PutUint64(out[:8], sum[0])
	binary.LittleEndian.PutUint64(out[8:], sum[1])
	return out, nil
}

// hash is two independent hashes of one thing, so that two things that differ
// have the same one by chance only once in 2^128 times.
type hash [2]uint64

// seeds are new in each process: an archive can't be made to meet them.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// keys make what mix does depend on the process, too.
var keys = hashText([]byte("keys"))

// The types of JSON values, so that "1" and 1 differ. A text has none, since
// most values are texts.
var (
	hashNumber = hashText([]byte("type number"))
	hashList   = hashText([]byte("type list"))
	hashMap    = hashText([]byte("type map"))
	hashWord   = hashText([]byte("type true, false or null"))
)

func hashText(text []byte) hash {
	return hash{maphash.Bytes(seeds[0], text), maphash.Bytes(seeds[1], text)}
}

// mix returns a hash of one thing followed by another.
func (h hash) mix(other hash) hash {
	for i := range h {
		high, low := bits.Mul64(bits.RotateLeft64(h[i], 23)^keys[i], other[i]^keys[1-i])
		h[i] = high ^ low
	}
	return h
}

// add makes h the hash of a map with one more member. The order in which members
// are added doesn't matter.
func (h *hash) add(name string, value hash) {
	h.addMember(hashText([]byte(name)), value)
}

func (h *hash) addMember(name, value hash) {
	member := name.mix(value)
	h[0] += member[0]
	h[1] += member[1]
}

func hashTexts(t texts, but ...string) hash {
	sum := hashMap
	for key, value := range t.values {
		sum.add(key, hashText([]byte(value)))
	}
	for _, key := range but {
		if value, ok := t.values[key]; ok {
			member := hashText([]byte(key)).mix(hashText([]byte(value)))
			sum[0] -= member[0]
			sum[1] -= member[1]
		}
	}
	return sum
}

func hashFields(all fields, but string) (hash, error) {
	sum := hashMap
	for i := range all {
		if all[i].name == but || nullTime(all[i].name, all[i].raw) {
			continue
		}
		raw, err := all[i].json()
		if err != nil {
			return hash{}, err
		}
		s := rescan(raw)
		value, err := s.hash()
		s.release()
		if err != nil {
			return hash{}, err
		}
		sum.add(all[i].name, value)
	}
	return sum, nil
}

func nullTime(name string, value []byte) bool {
	return name == "creationTimestamp" && string(value) == "null"
}

// hash reads the next value.
func (s scanner) hash() (hash, error) {
	switch s.PeekKind() {
	case jsontext.KindBeginObject:
		return s.hashMap()
	case jsontext.KindBeginArray:
		return s.hashList()
	}
	raw, err := s.ReadValue()
	if err != nil {
		return hash{}, err
	}
	switch raw.Kind() {
	case jsontext.KindString:
		return hashQuoted(raw), nil
	case jsontext.KindNumber:
		return hashNumber.mix(hashText(canonicalNumber(raw))), nil
	}
	return hashWord.mix(hashText(raw)), nil
}

func (s scanner) hashMap() (hash, error) {
	if _, err := s.ReadToken(); err != nil {
		return hash{}, err
	}
	sum := hashMap
	for s.PeekKind() != jsontext.KindEndObject {
		quoted, err := s.ReadValue()
		if err != nil {
			return hash{}, err
		}
		name := hashQuoted(quoted)
		if s.PeekKind() == jsontext.KindNull && string(quoted) == `"creationTimestamp"` {
			if err := s.SkipValue(); err != nil {
				return hash{}, err
			}
			continue
		}
		value, err := s.hash()
		if err != nil {
			return hash{}, err
		}
		sum.addMember(name, value)
	}
	_, err := s.ReadToken()
	return sum, err
}

func (s scanner) hashList() (hash, error) {
	if _, err := s.ReadToken(); err != nil {
		return hash{}, err
	}
	sum := hashList
	for s.PeekKind() != jsontext.KindEndArray {
		value, err := s.hash()
		if err != nil {
			return hash{}, err
		}
		sum = sum.mix(value)
	}
	_, err := s.ReadToken()
	return sum, err
}

func hashQuoted(quoted []byte) hash {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return hashText(quoted[1 : len(quoted)-1])
	}
	return hashText([]byte(unquote(quoted)))
}

// canonicalNumber writes a number with a fraction or an exponent as the API
// server reads it: 1.50, 15e-1 and 1.5 are the same, and so are 2.0 and 2.
func canonicalNumber(raw []byte) []byte {
	if !bytes.ContainsAny(raw, ".eE") {
		return raw
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil { // beyond what a float can hold
		return raw
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(nil, int64(f), 10)
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}
