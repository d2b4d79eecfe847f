package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

var (
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	roles   = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
)

func TestEntriesGoWhereTheyBelong(t *testing.T) {
	t.Parallel()
	r := report.New()
	r.Add(report.Error, ref.Object{}, errors.New("store gone"))
	r.Add(report.Error, ref.Object{Resource: roles, Name: "admin"}, errors.New("forbidden"))
	r.Add(report.Warning, ref.Object{Resource: secrets, Namespace: "shop", Name: "db"}, errors.New("changed"))
	want := report.Results{
		Errors: report.Result{
			Velero:  []string{" message: /store gone"},
			Cluster: []string{" resource: /clusterroles.rbac.authorization.k8s.io name: /admin message: /forbidden"},
		},
		Warnings: report.Result{Namespaces: map[string][]string{
			"shop": {" resource: /secrets name: /db message: /changed"},
		}},
	}
	if diff := cmp.Diff(want, r.Results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if r.Errors() != 2 || r.Warnings() != 1 {
		t.Errorf("counts = %d errors, %d warnings", r.Errors(), r.Warnings())
	}
}

func TestResourceListIsSorted(t *testing.T) {
	t.Parallel()
	r := report.New()
	deployment := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	for _, name := range []string{"web", "api"} {
		r.Item(deployment, "shop", name)
	}
	r.Item(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, "", "n1")
	want := map[string][]string{"apps/v1/Deployment": {"shop/api", "shop/web"}, "v1/Node": {"n1"}}
	if diff := cmp.Diff(want, listOf(t, r)); diff != "" {
		t.Errorf("resource list (-want +got):\n%s", diff)
	}
	if r.Items() != 3 {
		t.Errorf("items = %d, want 3", r.Items())
	}
	if got := listOf(t, report.New()); len(got) > 0 {
		t.Errorf("the list of an empty report is %v", got)
	}
}

// listOf is the resource list of a report, written and read back.
func listOf(t *testing.T, r *report.Report) map[string][]string {
	t.Helper()
	var written bytes.Buffer
	var list map[string][]string
	if err := errors.Join(r.WriteResourceList(&written), json.Unmarshal(written.Bytes(), &list)); err != nil {
		t.Fatalf("%v in %s", err, written.String())
	}
	return list
}

func TestRestoredItemsAreDistinct(t *testing.T) {
	t.Parallel()
	r := report.NewRestore()
	for range 2 {
		r.RestoredItem(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, "", "n1", "created")
	}
	if diff := cmp.Diff(map[string][]string{"v1/Node": {"n1(created)"}}, listOf(t, r)); diff != "" || r.Items() != 1 {
		t.Errorf("%d items (-want +got):\n%s", r.Items(), diff)
	}
}

func TestTopCausesCountsAndOrders(t *testing.T) {
	t.Parallel()
	r := report.New()
	for _, text := range []string{"rare", "often", "often"} {
		r.Add(report.Error, ref.Object{}, errors.New(text))
	}
	if diff := cmp.Diff([]string{"often (2 times)", "rare"}, r.TopCauses(5)); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
	if got := r.TopCauses(1); len(got) != 1 {
		t.Errorf("TopCauses(1) = %q", got)
	}
}

func TestTerminationFitsAndComesBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, summary := range map[string]report.Summary{
		"short":       {Outcome: report.Failed, Reason: "bucket gone", Errors: 1},
		"many causes": {Outcome: report.PartiallyFailed, Reason: "why", TopCauses: strings.Split(strings.Repeat("ab ", 3000), " ")},
		"long reason": {Outcome: report.Failed, Reason: strings.Repeat("ü", 9000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := summary.Termination(now)
			if len(message) > 4096 {
				t.Fatalf("message has %d bytes", len(message))
			}
			got, err := report.ParseTermination(message)
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != summary.Outcome || got.Reason == "" || !strings.HasPrefix(summary.Reason, got.Reason) {
				t.Errorf("read back outcome %q, reason %q", got.Outcome, got.Reason)
			}
		})
	}
}

func TestParseTerminationRefusesOtherText(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"", "panic: oops", "{}"} {
		if _, err := report.ParseTermination([]byte(message)); err == nil {
			t.Errorf("ParseTermination(%q) succeeded", message)
		}
	}
}
