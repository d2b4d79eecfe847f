package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequestsByKind(t *testing.T) {
	t.Parallel()
	r := &requests{
		lists: map[string]int{"/api/v1/configmaps": 2, "/api/v1/namespaces/a/configmaps": 1, "/api/v1/namespaces": 1},
		others: map[string]int{
			"POST /api/v1/namespaces": 4, "POST /api/v1/namespaces/a/configmaps": 5, "POST /api/v1/namespaces/b/configmaps": 6,
			"PATCH /apis/velero.io/v1/namespaces/velero/restores/r": 3, "GET /apis": 1, "GET /api/v1/namespaces/kube-system": 1,
			"GET /api/v1": 1, "GET /version": 1, "POST /apis/apps/v1/namespaces/a/deployments": 2,
		},
	}
	want := []string{
		"11 POST configmaps", "4 POST namespaces", "3 LIST configmaps", "3 PATCH restores", "2 POST deployments",
		"1 GET /api/v1", "1 GET /apis", "1 GET /version", "1 GET namespaces", "1 LIST namespaces",
	}
	if diff := cmp.Diff(want, r.byKind()); diff != "" {
		t.Error(diff)
	}
}

const archivedConfigMap = `{"apiVersion":"v1","data":{"n":"1"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2026-01-02T03:04:05Z",` +
	`"labels":{"app":"shop"},"managedFields":[{"manager":"argocd","operation":"Apply","apiVersion":"v1"}],` +
	`"name":"settings","namespace":"bench-0000","resourceVersion":"7","uid":"1-2"},"status":{}}`

func TestItemsHaveNothingOfAFormerLife(t *testing.T) {
	t.Parallel()
	got, err := newItem(object{"configmaps", "bench-0000", "settings"}, []byte(archivedConfigMap))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","data":{"n":"1"},"kind":"ConfigMap","metadata":{"labels":{"app":"shop"},"name":"settings","namespace":"bench-0000"}}`
	if diff := cmp.Diff(want, strings.TrimSpace(string(got.Body))); diff != "" {
		t.Error(diff)
	}
	if want := `[{"manager":"argocd","operation":"Apply","apiVersion":"v1"}]`; string(got.ManagedFields) != want {
		t.Errorf("managed fields %s", got.ManagedFields)
	}
	plain := strings.ReplaceAll(archivedConfigMap, `"Apply"`, `"Update"`)
	if got, err := newItem(object{"configmaps", "bench-0000", "settings"}, []byte(plain)); err != nil || got.ManagedFields != nil {
		t.Errorf("managed fields %s, error %v; nobody has applied it", got.ManagedFields, err)
	}
}

func TestSumsTellObjectsApart(t *testing.T) {
	t.Parallel()
	sumOf := func(body string) uint64 {
		sum, err := sumOfBody([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	base := sumOf(archivedConfigMap)
	for name, test := range map[string]struct {
		old, new string
		same     bool
	}{
		"another life":      {old: `"uid":"1-2"`, new: `"uid":"3-4"`, same: true},
		"label of restores": {old: `"app":"shop"`, new: `"app":"shop","velero.io/restore-name":"r","velero.io/backup-name":"b"`, same: true},
		"other label":       {old: `"app":"shop"`, new: `"app":"web"`},
		"other data":        {old: `"n":"1"`, new: `"n":"2"`},
		"ownership lost":    {old: `"Apply"`, new: `"Update"`},
		"other owner":       {old: "argocd", new: "flux"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := strings.Replace(archivedConfigMap, test.old, test.new, 1)
			if changed == archivedConfigMap {
				t.Fatal("nothing was changed")
			}
			if same := sumOf(changed) == base; same != test.same {
				t.Errorf("same sum: %t, want %t", same, test.same)
			}
		})
	}
}

func TestCompareNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	a, b, c := object{"configmaps", "n", "a"}, object{"configmaps", "n", "b"}, object{"configmaps", "n", "c"}
	if err := (sums{a: 1, b: 2}).compare(sums{a: 1, b: 2}); err != nil {
		t.Errorf("nothing is wrong, but: %v", err)
	}
	err := (sums{a: 1, b: 2}).compare(sums{b: 3, c: 4})
	for _, want := range []string{"3 of 2", "n/a is missing", "n/b is another", "n/c is too much"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestFiguresOfRestores(t *testing.T) {
	t.Parallel()
	floor := func(seconds ...float64) (all []createResult) {
		for _, s := range seconds {
			all = append(all, createResult{Seconds: s, Objects: 100})
		}
		return all
	}
	r := &restoreResult{
		set: dataSet{objects: 100}, sums: sums{},
		floors: map[int][]createResult{16: floor(4, 5, 6), 32: floor(2, 2, 2), 64: floor(3, 1, 3)},
		ours:   []taken{{Seconds: 2.5, PeakRSSBytes: 10}, {Seconds: 2, PeakRSSBytes: 30}, {Seconds: 4, PeakRSSBytes: 20}},
		again:  []taken{{Seconds: 1, PeakRSSBytes: 5}}, lists: []taken{{Seconds: 0.5}},
		requests: &requests{total: 110}, againRequests: &requests{total: 20}, existingRequests: &requests{total: 120},
	}
	for n := range 100 {
		r.sums[object{name: strings.Repeat("x", n)}] = 1
	}
	f := r.figures()
	if f.FloorWorkers != 32 || f.FloorRate != 50 || f.OursRate != 40 || f.Ratio != 0.8 {
		t.Errorf("floor %v/s with %d workers, ours %v/s, ratio %v", f.FloorRate, f.FloorWorkers, f.OursRate, f.Ratio)
	}
	if f.RequestsPerObject != 1.1 || f.PeakRSSBytes != 30 || f.AllThere.Ratio != 2 || f.NamespacesThere.PerObject != 1.2 || f.AllThere.Requests.Total != 20 {
		t.Errorf("%+v", f)
	}
	if least, most := r.ratios(); least != 0.5 || most != 1 {
		t.Errorf("ratios %v to %v", least, most)
	}
}

func TestOnePartKeepsTheOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := os.WriteFile(path, []byte(`{"backup":{"objects":7,"extra":"kept"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	all := summary{restores: []*restoreResult{{
		set: dataSet{objects: 3}, floors: map[int][]createResult{16: {{Seconds: 1, Objects: 3}}},
		ours: []taken{{Seconds: 1}}, again: []taken{{Seconds: 1}}, lists: []taken{{Seconds: 1}}, sums: sums{{name: "a"}: 1},
		requests: &requests{},
	}}}
	if err := all.write(path); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Backup, Restore struct {
			Objects int
			Extra   string
		}
	}
	if err := json.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	if file.Backup.Objects != 7 || file.Backup.Extra != "kept" || file.Restore.Objects != 3 {
		t.Errorf("bench.json is %s", body)
	}
}

func TestDataSets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options           options
		backups, restores []int
	}{
		"default":       {options: options{objects: defaultObjects}, backups: []int{defaultObjects}, restores: []int{defaultObjects}},
		"few":           {options: options{objects: 1000}, backups: []int{1000}, restores: []int{1000}},
		"many":          {options: options{objects: 100_000}, backups: []int{defaultObjects, 100_000}, restores: []int{defaultObjects, 100_000}},
		"only restores": {options: options{objects: 1000, only: onlyRestore}, restores: []int{1000}},
		"only backups":  {options: options{objects: 1000, only: onlyBackup}, backups: []int{1000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sizes := func(sets []dataSet) (all []int) {
				for i, set := range sets {
					all = append(all, set.objects)
					if set.main != (i == len(sets)-1) {
						t.Errorf("%s: main is %t", set.title(), set.main)
					}
				}
				return all
			}
			if diff := cmp.Diff(test.backups, sizes(test.options.sets())); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.restores, sizes(test.options.restoreSets())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
