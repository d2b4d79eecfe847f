// Package storetest is the conformance suite of package store: what every Bucket
// must do, whatever its provider. A provider's test starts a real server and
// calls Run. How a server is started is left to testdata/testenv.
package storetest

import (
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Provider is a way to get buckets, and what is particular to them. Only Open and
// PartSize must be set; what is nil is not tested.
type Provider struct {
	// Open opens a new, empty bucket at the given prefix, with parts of PartSize.
	// It may be called concurrently.
	Open func(t *testing.T, prefix string) store.Bucket
	// PartSize is the size in bytes of the parts that uploads are made of: the
	// smaller, the faster the suite.
	PartSize int
	// NoETags says that objects have none.
	NoETags bool
	// NoBackslash says that no key can have one.
	NoBackslash bool

	// Through opens a new, empty bucket whose connections to the server go by the
	// address that redirect returns for the server's address (both host:port).
	Through func(t *testing.T, redirect func(address string) string) store.Bucket
	// Unfinished opens a new, empty bucket that is a store.UploadAborter; begin
	// leaves there what a writer of the object key leaves when it is killed.
	Unfinished func(t *testing.T) (b store.Bucket, begin func(t *testing.T, key string))
	// Locking opens a new, empty bucket in which objects can be protected.
	Locking func(t *testing.T) Locking
}

// Locking is a bucket in which objects can be protected from deletion.
type Locking struct {
	Bucket store.Bucket
	// Retain protects the object for at least a minute, and returns until when the
	// server will say that it does; zero if it won't. May be nil.
	Retain func(t *testing.T, key string) time.Time
	// Hold protects the object until somebody takes that back. May be nil.
	Hold func(t *testing.T, key string)
	// Versions says that the server keeps what is replaced as an older version, so
	// that Put to a protected object succeeds.
	Versions bool
	// Inspected is what Inspect must say of Lock; Unknown: anything.
	Inspected store.Tristate
}

// Run runs the suite. Its tests are parallel, and have ended when it returns.
func Run(t *testing.T, p Provider) {
	t.Helper()
	// Parallel tests end with this group, and only then the caller's server.
	t.Run("suite", func(t *testing.T) {
		for name, test := range p.tests() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, p.Open(t, ""))
			})
		}
		for name, test := range p.optional() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
}

// Writes is a short part of the suite, for settings other than the default: objects
// of several sizes, and create-if-absent. b has parts of partSize bytes.
func Writes(t *testing.T, b store.Bucket, partSize int) {
	t.Helper()
	p := Provider{PartSize: partSize}
	p.testSizes(t, b)
	testCreate(t, b)
}

// tests are those that any bucket must pass; each gets a fresh one.
func (p Provider) tests() map[string]func(*testing.T, store.Bucket) {
	return map[string]func(*testing.T, store.Bucket){
		"sizes":         p.testSizes,
		"replace":       p.testReplace,
		"create":        testCreate,
		"create again":  testCreateAgain,
		"create unseen": testCreateUnseen,
		"race":          testCreateRace,
		"put race":      p.testPutRace,
		"missing":       testMissing,
		"ranges":        testRanges,
		"stat":          p.testStat,
		"list":          testList,
		"many":          testMany,
		"prefixes":      testPrefixes,
		"delete":        testDelete,
		"odd keys":      p.testOddKeys,
		"long keys":     testLongKeys,
		"bad keys":      testBadKeys,
		"cancelled":     testCancelled,
		"broken reader": p.testBrokenReader,
		"stopped":       p.testStoppedUpload,
		"early stop":    testListStopsEarly,
		"inspect":       testInspect,
	}
}

// optional are the tests that need more than a bucket.
func (p Provider) optional() map[string]func(*testing.T) {
	tests := map[string]func(*testing.T){
		"below a prefix": func(t *testing.T) { testList(t, p.Open(t, "clusters/one")) },
	}
	if p.Through != nil {
		tests["cut upload"] = p.testCutUpload
		tests["cut download"] = p.testCutDownload
	}
	if p.Unfinished != nil {
		tests["unfinished uploads"] = p.testUnfinished
	}
	if p.Locking != nil {
		tests["locked"] = p.testLocked
	}
	return tests
}
