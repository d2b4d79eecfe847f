package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
)

// text makes up what objects hold: like configuration that people and tools
// write, with repeating keys, and names, numbers and sums that don't repeat. It
// depends on its seed alone.
type text struct{ random *rand.Rand }

func newText(seed int) *text {
	return &text{random: rand.New(rand.NewPCG(uint64(seed), mixVersion))}
}

var words = strings.Fields(`account agent archive audit backend billing cache cart catalog checkout cluster
config consumer customer dashboard database delivery discovery edge events exporter feature fraud frontend
gateway identity image ingest inventory invoice ledger legacy limits locale login mailer marketing metrics
mobile notifier offers orders partner payment pipeline planner portal pricing producer profile proxy queue
ranking ratings recorder refunds registry reports returns reviews router scheduler search session shipping
signup sitemap storage stream support survey sync tax tenant ticket tracker traffic translate upload
vendor voucher warehouse webhook widget worker`)

func (t *text) word() string { return words[t.random.IntN(len(words))] }

func (t *text) host() string {
	return fmt.Sprintf("%s-%s.%s.svc.example.com", t.word(), t.word(), t.word())
}

func (t *text) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(t.random.Uint32())
	}
	return b
}

// hex returns n hexadecimal digits; n is even.
func (t *text) hex(n int) string { return hex.EncodeToString(t.bytes(n / 2)) }

// config returns n bytes of it.
func (t *text) config(n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s:\n", t.word())
		for range 2 + t.random.IntN(4) {
			fmt.Fprintf(&b, "  %s-%s: %s\n", t.word(), t.word(), t.value())
		}
	}
	return b.String()[:n]
}

func (t *text) value() string {
	switch t.random.IntN(7) {
	case 0:
		return fmt.Sprintf("%t", t.random.IntN(2) == 0)
	case 1:
		return fmt.Sprintf("%d # default %d", t.random.IntN(100_000), t.random.IntN(1000))
	case 2:
		return fmt.Sprintf("https://%s:%d/%s/v%d", t.host(), 1024+t.random.IntN(60_000), t.word(), t.random.IntN(9))
	case 3:
		return t.hex(32)
	case 4:
		return fmt.Sprintf("10.%d.%d.%d/%d", t.random.IntN(256), t.random.IntN(256), t.random.IntN(256), 16+t.random.IntN(16))
	case 5:
		return fmt.Sprintf("%dms", t.random.IntN(60_000))
	}
	return fmt.Sprintf("%q", t.word()+" "+t.word()+" "+t.word())
}
