package install_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// options are a usual installation's, changed by the functions.
func options(change ...func(*install.Options)) install.Options {
	o := install.Options{
		Namespace: "velero",
		Image:     "registry.example.com/executor:v1",
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		Credentials: []byte("[default]\n"),
		Location: &install.Location{
			Provider: "aws", Bucket: "backups", Prefix: "east",
			Config: map[string]string{"region": "us-east-1", "s3ForcePathStyle": "true"},
			CACert: []byte("a certificate"),
		},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func withoutLocation(o *install.Options) { o.Credentials, o.Location = nil, nil }

func elsewhere(o *install.Options) {
	withoutLocation(o)
	o.Namespace = "backup"
	o.ImagePullPolicy = corev1.PullIfNotPresent
	o.PodAnnotations = map[string]string{"example.com/team": "storage"}
	o.PodLabels = map[string]string{"azure.workload.identity/use": "true", "component": "other"}
	o.ServiceAccountAnnotations = map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/velero"}
	o.Resources = corev1.ResourceRequirements{}
	o.Features = []string{"EnableCSI", "EnableAPIGroupVersions"}
}

// inFolder has the backups in a claim that installing makes.
func inFolder(o *install.Options) {
	o.Credentials = nil
	o.Location = &install.Location{
		Provider: "filesystem", Bucket: "backups", Claim: install.DefaultClaim, Config: map[string]string{"fsGroup": "none"},
		Size: resource.MustParse("10Gi"), StorageClass: "nfs", AccessMode: corev1.ReadWriteMany,
	}
	o.PodEnv = []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}, {Name: "VELERO_FEATURES", Value: "lost"}}
	o.Features = []string{"EnableCSI"}
}

// encrypted has the server encrypt with a key of the user's own.
func encrypted(o *install.Options) { o.CustomerKey = []byte("0123456789abcdef0123456789abcdef") }

func TestObjects(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]install.Options{
		"usual":      options(),
		"elsewhere":  options(elsewhere),
		"filesystem": options(inFolder),
		"encrypted":  options(encrypted),
		"crds-only":  options(func(o *install.Options) { o.CRDsOnly = true }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := install.Objects(o)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, object := range objects {
				manifest, err := install.Manifest(object)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString("---\n")
				if manifest.GetKind() == "CustomResourceDefinition" {
					// They have files of their own.
					got.WriteString("# CustomResourceDefinition " + manifest.GetName() + "\n")
					continue
				}
				if manifest.GetKind() == "CronJob" {
					// What a Job looks like is package launch's to test.
					unstructured.RemoveNestedField(manifest.Object, "spec", "jobTemplate")
				}
				body, err := yaml.Marshal(manifest.Object)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(body)
			}
			golden(t, name+".yaml", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestRightsAreLeast holds for whatever rules are added: no write to every kind, no
// verb that lets the account widen its own rights, nothing standing for restores.
func TestRightsAreLeast(t *testing.T) {
	t.Parallel()
	objects, err := install.Objects(options())
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		switch object := object.(type) {
		case *rbacv1.ClusterRole:
			checkRules(t, "ClusterRole", object.Rules)
		case *rbacv1.Role:
			checkRules(t, "Role", object.Rules)
		case *rbacv1.ClusterRoleBinding:
			checkSubjects(t, object.Subjects)
		case *rbacv1.RoleBinding:
			checkSubjects(t, object.Subjects)
		}
	}
}

func checkRules(t *testing.T, kind string, rules []rbacv1.PolicyRule) {
	t.Helper()
	reads := []string{"get", "list", "watch"}
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			if slices.Contains([]string{"*", "escalate", "bind", "impersonate"}, verb) {
				t.Errorf("%s has verb %q", kind, verb)
			}
			if slices.Contains(rule.APIGroups, "*") && !slices.Contains(reads, verb) {
				t.Errorf("%s may %s in every group", kind, verb)
			}
		}
	}
}

func checkSubjects(t *testing.T, subjects []rbacv1.Subject) {
	t.Helper()
	want := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "velero", Name: "velero"}}
	if diff := cmp.Diff(want, subjects); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}

func TestMaintenanceRunsHourlyAndAlone(t *testing.T) {
	t.Parallel()
	objects, err := install.Objects(options())
	if err != nil {
		t.Fatal(err)
	}
	cron, ok := objects[len(objects)-1].(*batchv1.CronJob)
	if !ok {
		t.Fatalf("the last object is a %T", objects[len(objects)-1])
	}
	if cron.Name != "velero-maintenance" || cron.Spec.Schedule != "17 * * * *" || cron.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Errorf("got %s at %q, %s", cron.Name, cron.Spec.Schedule, cron.Spec.ConcurrencyPolicy)
	}
	if args := cron.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args; !slices.Equal(args, []string{"maintain"}) {
		t.Errorf("got arguments %q", args)
	}
}

func TestBindingName(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"velero": "velero", "backup": "velero-backup"} {
		if got := launch.InstallBinding(namespace); got != want {
			t.Errorf("namespace %q: got %q, want %q", namespace, got, want)
		}
	}
}

func TestCheckNamespace(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"velero":      "",
		"kubernetes":  "",
		"default":     `namespace "default" can't hold an installation, since uninstall deletes its namespace; hint: choose another, such as velero`,
		"kube-system": `namespace "kube-system" can't hold an installation, since uninstall deletes its namespace; hint: choose another, such as velero`,
		"Velero": `"Velero" is no name of a namespace: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', ` +
			`and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
	} {
		got := ""
		if err := install.CheckNamespace(namespace); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("namespace %q: got %q, want %q", namespace, got, want)
		}
	}
}
