//go:build integration

package restore_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// webhook makes the API server ask judge about each object that is created in
// the world's namespace; what judge returns is why it is refused, empty when it
// isn't.
func (w *world) webhook(judge func(kind, name string) string) {
	w.t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(in.Body).Decode(&review); err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		reason := judge(review.Request.Kind.Kind, review.Request.Name)
		if reason == unreachable {
			http.Error(out, "not yet", http.StatusServiceUnavailable)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: reason == "", Result: &metav1.Status{Message: reason}}
		_ = json.NewEncoder(out).Encode(review) // the client sees that it is cut
	}))
	w.t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	w.apply(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: judge.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 30
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  clientConfig: {url: %[2]q, caBundle: %[3]s}
  rules: [{apiGroups: ["*"], apiVersions: ["*"], operations: [CREATE], resources: ["*"], scope: Namespaced}]
`, w.app, server.URL+"/", base64.StdEncoding.EncodeToString(ca)))
	w.t.Cleanup(func() { // nobody would answer any more
		ctx := context.WithoutCancel(w.t.Context())
		if err := w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, w.app, metav1.DeleteOptions{}); err != nil {
			w.t.Error(err)
		}
	})
	// The API server learns of it a little later; nothing tells when.
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	w.eventually("the webhook is asked", func() bool {
		_, err := w.kube.CoreV1().ConfigMaps(w.app).Create(w.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: probe}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), probe)
	})
}

const (
	// unreachable is the judgement of a webhook that doesn't judge.
	unreachable = "unreachable"
	// probe is an object that each judge of these tests refuses by name.
	probe = "probe-for-the-webhook"
)

// A webhook that isn't ready, or that refuses what isn't complete yet, has its
// say again.
func TestWebhookThatRefusesForTenSeconds(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{unreachable, "the issuer isn't there yet"} {
		t.Run(refusal, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var mu sync.Mutex
			var until time.Time
			w.webhook(func(_, name string) string {
				mu.Lock()
				defer mu.Unlock()
				if name == probe {
					return probe
				}
				if until.IsZero() {
					until = time.Now().Add(10 * time.Second)
				}
				if time.Now().Before(until) {
					return refusal
				}
				return ""
			})
			w.putBackup("b", w.in(
				`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}}`,
				`{apiVersion: v1, kind: Secret, metadata: {name: two, namespace: APP}}`,
				`{apiVersion: apps/v1, kind: Deployment, metadata: {name: three, namespace: APP}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}}`)...)
			summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.RetryFor = 15 * time.Second })
			if summary.Outcome != report.Completed || summary.Warnings != 0 {
				t.Errorf("summary %+v, results %+v", summary, w.results("r"))
			}
			if w.get("configmaps", w.app, "one") == nil || w.get("secrets", w.app, "two") == nil || w.get("deployments.apps", w.app, "three") == nil {
				t.Errorf("not everything is there: %v", w.errors("r"))
			}
		})
	}
}

// What a webhook refuses for good is one error.
func TestWebhookThatNeverAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.webhook(func(_, name string) string {
		if name == "fine" {
			return ""
		}
		return name + " is never allowed"
	})
	summary := w.restored(velerov1.RestoreSpec{},
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: never, namespace: APP}}`, `{apiVersion: v1, kind: ConfigMap, metadata: {name: fine, namespace: APP}}`)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "judge.example.com", "never is never allowed")
	if got := w.configMaps(); len(got) != 1 || !got["fine"] {
		t.Errorf("restored: %v", got)
	}
}

// A quota is no reason to wait; what it leaves room for is restored.
func TestQuotaTooSmall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(`{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: APP}, spec: {hard: {count/secrets: "2"}}}`)
	quota, err := w.kube.CoreV1().ResourceQuotas(w.app).Get(t.Context(), "small", metav1.GetOptions{})
	w.must(err)
	quota.Status.Hard = quota.Spec.Hard // no controller counts here
	quota.Status.Used = corev1.ResourceList{"count/secrets": resource.MustParse("0")}
	_, err = w.kube.CoreV1().ResourceQuotas(w.app).UpdateStatus(t.Context(), quota, metav1.UpdateOptions{})
	w.must(err)
	var manifests []string
	for n := range 5 {
		manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: s%d, namespace: APP}}`, n))
	}
	summary := w.restored(velerov1.RestoreSpec{}, append(manifests, `{apiVersion: v1, kind: ConfigMap, metadata: {name: beside, namespace: APP}}`)...)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 3 {
		t.Errorf("summary %+v", summary)
	}
	for _, text := range w.errors("r") {
		if !strings.Contains(text, "exceeded quota: small") {
			t.Errorf("error %q", text)
		}
	}
	list, err := w.kube.CoreV1().Secrets(w.app).List(t.Context(), metav1.ListOptions{})
	w.must(err)
	if len(list.Items) != 2 || !w.configMaps()["beside"] {
		t.Errorf("%d Secrets are there", len(list.Items))
	}
}

// A webhook of the archive comes last: it can't refuse the rest of its archive.
func TestArchivedWebhookComesLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifests := []string{`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: APP-archived}
webhooks:
- name: nobody.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: APP}}
  clientConfig: {service: {name: nobody, namespace: APP}}
  rules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"], scope: Namespaced}]`}
	for n := range 50 {
		manifests = append(manifests, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n%d, namespace: APP}, spec: {podSelector: {}}}`, n))
	}
	summary := w.restored(velerov1.RestoreSpec{}, manifests...)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	if w.get("validatingwebhookconfigurations.admissionregistration.k8s.io", "", w.app+"-archived") == nil {
		t.Error("the webhook was not restored")
	}
}
