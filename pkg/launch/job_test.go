package launch

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

var update = flag.Bool("update", false, "rewrite golden files")

const uid = types.UID("0a1b2c3d-0000-4000-8000-000000000000")

// installed is a template as install makes it, with what matters to a Job.
func installed() *corev1.PodTemplate {
	optional := true
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: TemplateName},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "storage"}, Annotations: map[string]string{"sidecar.istio.io/inject": "false"}},
			Spec: corev1.PodSpec{
				ServiceAccountName: "velero",
				Containers: []corev1.Container{{
					Name:  ContainerName,
					Image: "registry.example/executor:v1",
					Env:   []corev1.EnvVar{{Name: "AWS_REGION", Value: "eu-1"}},
					Resources: corev1.ResourceRequirements{
						Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
					},
					VolumeMounts: []corev1.VolumeMount{{Name: "credentials", MountPath: CredentialsDir, ReadOnly: true}},
				}},
				Volumes: []corev1.Volume{{
					Name:         "credentials",
					VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "cloud-credentials", Optional: &optional}},
				}},
			},
		},
	}
}

func backupOperation() Operation {
	return Operation{
		Kind: velerov1.OperationBackup, Namespace: "velero", Name: "shop", UID: uid,
		Owner: Owner("Backup", "shop", uid),
		Args:  []string{"backup", "--name", "shop"},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	restore := backupOperation()
	restore.Kind, restore.ServiceAccount = velerov1.OperationRestore, RestoreServiceAccount
	restore.Args, restore.Owner = []string{"restore", "--name", "shop"}, Owner("Restore", "shop", uid)
	restore.Location = withCredential("second", "aws")

	read := Operation{
		Kind: velerov1.OperationRead, Namespace: "velero", Name: "shop", UID: uid,
		NoAPIToken: true, Args: []string{"read"}, Deadline: time.Hour,
		Env: []corev1.EnvVar{{Name: "READ_PREFIXES", Value: "backups/shop/"}},
	}
	schedule := Operation{
		Kind: velerov1.OperationSchedule, Namespace: "velero", Name: "nightly", UID: uid,
		Owner: Owner("Schedule", "nightly", uid), Args: []string{"backup", "--schedule", "nightly"},
	}
	bare := &corev1.PodTemplate{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: ContainerName, Image: "executor"}},
	}}}
	credential := backupOperation()
	credential.Location = restore.Location

	encrypted := backupOperation()
	encrypted.Location = everything()
	folder := backupOperation()
	folder.Location = inFolder()
	readFolder := read
	readFolder.Location = inFolder()

	disks := backupOperation()
	disks.Location, disks.SnapshotLocations = restore.Location, snapshotLocations()

	cases := map[string]any{
		"backup":           Job(installed(), backupOperation()),
		"restore":          Job(installed(), restore),
		"read":             Job(installed(), read),
		"schedule":         CronJob(installed(), schedule, "0 1 * * *", "", false),
		"schedule-paused":  CronJob(installed(), schedule, "@every 6h", "Europe/Paris", true),
		"bare-template":    Job(bare, backupOperation()),
		"bare-credentials": Job(bare, credential),
		"encrypted":        Job(installed(), encrypted),
		"snapshots":        Job(installed(), disks),
		"filesystem":       Job(installed(), folder),
		"filesystem-read":  Job(bare, readFolder),
	}
	for name, object := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".yaml", string(got))
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
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (rewrite with -update):\n%s", path, diff)
	}
}

func TestJobLeavesTheTemplateAlone(t *testing.T) {
	t.Parallel()
	template := installed()
	op := backupOperation()
	op.Location = everything()
	Job(template, op)
	if diff := cmp.Diff(installed(), template); diff != "" {
		t.Error(diff)
	}
}

func TestNamesFitTheAPI(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a-", 100)
	for _, name := range []string{"shop", "a.b", long, strings.Repeat("x", 39) + ".y"} {
		job := JobName(velerov1.OperationRestore, name, uid)
		if problems := validation.IsDNS1123Subdomain(job); len(problems) > 0 || len(job) > validation.DNS1123LabelMaxLength {
			t.Errorf("Job name %q: %v", job, problems)
		}
		cron := CronJobName(name)
		if problems := validation.IsDNS1123Subdomain(cron); len(problems) > 0 || len(cron) > 52 {
			t.Errorf("CronJob name %q: %v", cron, problems)
		}
	}
	if a, b := CronJobName(long+"1"), CronJobName(long+"2"); a == b {
		t.Errorf("two schedules share the CronJob %q", a)
	}
	if got, want := JobName(velerov1.OperationBackup, "shop", uid), "backup-shop-0a1b2c3d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
