package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const (
	defaultObjects = 10_500
	defaultRounds  = 5
	// manyObjects is where a round takes long enough to need fewer of them.
	manyObjects = 20_000
	fewRounds   = 3
	// restoreRounds are fewer: each restore and each floor creates everything.
	restoreRounds = 3
	// uploadRounds are those of each store; defaultUploadMiB are in an upload.
	uploadRounds     = 3
	defaultUploadMiB = 1024
	// secretRounds bounds those with large Secrets, of which each moves gigabytes.
	secretRounds = 2
)

// options are what the environment asks for.
type options struct {
	root, state string
	executor    string
	objects     int
	rounds      int // 0 is the default of the data set
	secrets     int
	uploadMiB   int
	profile     string // folder; empty is none
	store       string // to upload to; empty is all
	keep        bool
	only        string // one of the four; empty is all
}

const (
	onlyBackup    = "backup"
	onlyRestore   = "restore"
	onlyUpload    = "upload"
	onlySnapshots = "snapshots"
)

func optionsFromEnv() (options, error) {
	o := options{keep: os.Getenv("KEEP") == "1", profile: os.Getenv("PROFILE"), only: os.Getenv("BENCH"), store: os.Getenv("STORE")}
	if !slices.Contains([]string{"", onlyBackup, onlyRestore, onlyUpload, onlySnapshots}, o.only) {
		return o, fmt.Errorf("BENCH=%q: it must be %s, %s, %s or %s", o.only, onlyBackup, onlyRestore, onlyUpload, onlySnapshots)
	}
	if o.store != "" && !slices.ContainsFunc(uploadStores, func(k uploadKind) bool { return k.name == o.store }) {
		return o, fmt.Errorf("STORE=%q: there is no such store", o.store)
	}
	var err error
	if o.root, err = testenv.RepositoryRoot(); err != nil {
		return o, err
	}
	if o.state, err = testenv.StateFolder(); err != nil {
		return o, err
	}
	o.executor = cmp.Or(os.Getenv("EXECUTOR"), o.path("bin", "executor"))
	for _, number := range []struct {
		name     string
		to       *int
		fallback int
	}{{"OBJECTS", &o.objects, defaultObjects}, {"ROUNDS", &o.rounds, 0}, {"SECRETS", &o.secrets, 0}, {"UPLOAD", &o.uploadMiB, defaultUploadMiB}} {
		*number.to = number.fallback
		text := os.Getenv(number.name)
		if text == "" {
			continue
		}
		if *number.to, err = strconv.Atoi(text); err != nil || *number.to < 0 {
			return o, fmt.Errorf("%s=%q: it must be a number", number.name, text)
		}
	}
	if o.objects%perNamespace != 0 || o.objects == 0 {
		return o, fmt.Errorf("OBJECTS=%d: it must be a multiple of %d, which is what a namespace holds", o.objects, perNamespace)
	}
	return o, nil
}

// path is one in the repository.
func (o options) path(elements ...string) string {
	return filepath.Join(append([]string{o.root}, elements...)...)
}

// sets are the data sets to back up, the one that bench.json is about last among
// those of the mix.
func (o options) sets() []dataSet {
	if o.only != "" && o.only != onlyBackup {
		return nil
	}
	var sets []dataSet
	if o.objects > defaultObjects {
		sets = append(sets, dataSet{objects: defaultObjects, rounds: cmp.Or(o.rounds, defaultRounds)})
	}
	rounds := defaultRounds
	if o.objects > manyObjects {
		rounds = fewRounds
	}
	sets = append(sets, dataSet{objects: o.objects, rounds: cmp.Or(o.rounds, rounds), main: true})
	if o.secrets > 0 {
		sets = append(sets, dataSet{secrets: o.secrets, rounds: min(secretRounds, cmp.Or(o.rounds, secretRounds))})
	}
	return sets
}

// restoreSets are the data sets to restore, likewise.
func (o options) restoreSets() []dataSet {
	if o.only != "" && o.only != onlyRestore {
		return nil
	}
	set := func(objects int) dataSet {
		s := dataSet{objects: objects, rounds: cmp.Or(o.rounds, restoreRounds), workers: []int{16, 32, 64}, variants: true, restore: true}
		if objects > manyObjects { // each takes minutes, and the smaller set has told the rest
			s.rounds, s.workers, s.variants = cmp.Or(o.rounds, 1), []int{32}, false
		}
		return s
	}
	var sets []dataSet
	if o.objects > defaultObjects {
		sets = append(sets, set(defaultObjects))
	}
	main := set(o.objects)
	main.main = true
	return append(sets, main)
}

// dataSet is what a cluster holds: objects of the mix, large Secrets, or volumes.
type dataSet struct {
	objects, secrets int
	volumes          int
	rounds           int
	main             bool // what bench.json is about

	restore  bool  // it is to be restored
	workers  []int // of the floor of restores
	variants bool  // restores of the same in other circumstances too
}

func (s dataSet) size() int { return max(s.objects, s.secrets) }

// name is that of its cluster.
func (s dataSet) name() string {
	if s.secrets > 0 {
		return fmt.Sprintf("bench-secrets-%d", s.secrets)
	}
	if s.volumes > 0 {
		return "bench-snapshots"
	}
	if s.restore {
		return fmt.Sprintf("bench-restore-%d", s.objects)
	}
	return fmt.Sprintf("bench-%d", s.objects)
}

func (s dataSet) title() string {
	if s.secrets > 0 {
		return fmt.Sprintf("%s Secrets of 1 MiB", thousands(s.secrets))
	}
	return fmt.Sprintf("%s objects", thousands(s.objects))
}
